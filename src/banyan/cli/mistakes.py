"""What `banyan explain --mistakes` says: each mistake, and the training examples nearest to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import console, emit, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.streams import harmless
from banyan.core.files import atomic_write_text
from banyan.workflows.mistakes import FoundMistakes, Mistake, MistakesQuestion, find_mistakes
from banyan.workflows.mistakes_html import mistakes_page

MistakesOption = Annotated[int | None, typer.Option(min=1, help="In place of a question: so many surest mistakes.")]
DataOption = Annotated[str | None, typer.Option(help="--mistakes: a file, instead of the data of the model's recipe.")]
SplitOption = Annotated[str, typer.Option(help="--mistakes: test, validation or train.")]
MaxExamplesOption = Annotated[int, typer.Option(min=1, help="--mistakes: at most so many questions.")]
NeighboursOption = Annotated[int, typer.Option(min=0, help="--mistakes: training examples shown beside each.")]
MaxTrainOption = Annotated[int, typer.Option(min=1, help="--mistakes: training examples to look among, at most.")]
_MAX_SHOWN_CHARACTERS = 160  # of a text


def run_mistakes(
    model: Path, asked: MistakesQuestion, *, base: Path | None, html: Path | None, as_json: bool, quiet: bool
) -> None:
    """Find a model's mistakes and report them as the user asked for it.

    Raises: as `find_mistakes`.
    """
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        found = find_mistakes(model, asked, base=base, reporter=reporter)
    if html is not None:
        atomic_write_text(html, mistakes_page(found))
    emit(found, as_json=as_json, quiet=quiet, text=lambda: _tell(found, html))


def _tell(found: FoundMistakes, html: Path | None) -> None:
    say(f"{found.task}: {found.num_wrong} of {found.num_examples} answers are wrong ({found.scored_on})")
    for mistake in found.mistakes:
        _tell_mistake(mistake)
    if found.note is not None:
        say(f"without training examples: {found.note}")
    if html is not None:
        say(f"page: {html}")


def _tell_mistake(mistake: Mistake) -> None:
    sure = f" ({mistake.confidence:.1%})" if mistake.confidence is not None else ""
    say()
    say(_line(mistake.source))
    say(f"  answered {_line(mistake.answer)}{sure}; right: {_line(mistake.reference)}")
    for near in mistake.neighbours:
        say(f"  {near.similarity:+.2f}  {_line(near.source)} → {_line(near.reference)}")


def _line(text: str) -> str:
    flat = " ".join(text.split()) or "(nothing)"
    return harmless(flat if len(flat) <= _MAX_SHOWN_CHARACTERS else flat[: _MAX_SHOWN_CHARACTERS - 1] + "…")
