"""An explained answer as one HTML page: nothing is loaded from elsewhere, and no text can become markup."""

from __future__ import annotations

from html import escape

from banyan.workflows.explaining import ExplainedAnswer, ExplainedPart, Explanation
from banyan.workflows.map_sanity import Sanity
from banyan.workflows.word_colours import AGAINST, FOR, Colour, background

_STYLE = """
body { font: 16px/1.7 system-ui, sans-serif; max-width: 52em; margin: 2em auto; padding: 0 1em; color: #111; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 2em 0 0.3em } .text { white-space: pre-wrap; overflow-wrap: anywhere }
.text span { border-radius: 3px } .key span { padding: 0 0.4em; border-radius: 3px } .small { color: #555; font-size: 0.85em }
"""  # noqa: E501 - a line for each kind of thing


def explained_page(found: ExplainedAnswer) -> str:
    """Return the page; a word's value shows where the mouse rests on it."""
    sure = f" ({found.probability:.1%})" if found.probability is not None else ""
    body = [
        f"<h1>{escape(found.task)}: {escape(found.answer)}{sure}</h1>",
        f'<p class="small">{escape(found.model)}, {escape(found.method)}; a word’s value is in nats of log-odds.</p>',
        f'<p class="key">{_marked("spoke for it", FOR)} {_marked("spoke against it", AGAINST)}</p>',
        *[line for explanation in found.explanations for line in _explanation(explanation)],
    ]
    return page(f"{found.task}: {found.answer}", body)


def page(title: str, body: list[str]) -> str:
    """Return a whole page around lines of HTML."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return "\n".join([f"<!doctype html><html><head>{head}</head><body>", *body, "</body></html>", ""])


def _explanation(explanation: Explanation) -> list[str]:
    is_alone = len(explanation.parts) == 1
    lines = [f"<h2>{escape(explanation.about)}</h2>"]
    lines += [_part(part, largest=explanation.largest, is_alone=is_alone) for part in explanation.parts]
    facts = f"log-odds {explanation.log_odds:+.3f}, with blank words {explanation.blank_log_odds:+.3f}"
    if explanation.gap is not None:
        facts += f"; the values add up to the difference but for {abs(explanation.gap):.4f}"
    return [*lines, f'<p class="small">{facts}{_sanity(explanation.sanity)}</p>']


def _part(part: ExplainedPart, *, largest: float, is_alone: bool) -> str:
    words = []
    for word in part.words:
        bare = word.text.lstrip()
        gap, colour = word.text[: len(word.text) - len(bare)], background(word.value, largest=largest)
        words.append(escape(gap) + _marked(bare, colour, title=f"{word.value:+.3f}"))
    name = "" if is_alone else f"<b>{escape(part.name)}: </b>"
    return f'<p class="text">{name}{"".join(words)}</p>'


def _marked(text: str, colour: Colour | None, *, title: str = "") -> str:
    style = "" if colour is None else f' style="background: rgb{colour}"'
    note = f' title="{escape(title)}"' if title else ""
    return f"<span{style}{note}>{escape(text)}</span>"


def _sanity(sanity: Sanity | None) -> str:
    if sanity is None:
        return ""
    return (
        f"; rank correlation with {len(sanity.strengths)} models with random weights {sanity.mean:+.2f}, "
        f"by chance within ±{sanity.chance:.2f}"
    )
