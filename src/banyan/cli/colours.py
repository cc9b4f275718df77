"""Words on a background that says what they were worth: blue for the answer, red against it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from banyan.cli.streams import visible
from banyan.workflows.explaining import ExplainedPart
from banyan.workflows.word_colours import background


def coloured(part: ExplainedPart, *, largest: float, is_alone: bool) -> Text:
    """Return a part of a question for a terminal, with its name in front unless it stands alone."""
    text = Text()
    if not is_alone:
        text.append(f"{part.name}: ", style="bold")
    for word in part.words:
        colour = background(word.value, largest=largest)
        bare = word.text.lstrip()
        text.append(visible(word.text[: len(word.text) - len(bare)]))
        text.append(visible(bare), style="" if colour is None else f"black on rgb({','.join(map(str, colour))})")
    return text


def print_coloured(text: Text) -> None:
    """Print on standard output; without colours where it is no terminal."""
    Console(highlight=False, markup=False, soft_wrap=True).print(text)
