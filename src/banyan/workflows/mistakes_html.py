"""A model's surest mistakes as one HTML page."""

from __future__ import annotations

from html import escape

from banyan.workflows.explained_html import page
from banyan.workflows.mistakes import FoundMistakes, Mistake


def mistakes_page(found: FoundMistakes) -> str:
    """Return the page; no text on it can become markup."""
    body = [
        f"<h1>{escape(found.task)}: {found.num_wrong} of {found.num_examples} answers are wrong</h1>",
        f'<p class="small">{escape(found.model)}, {escape(found.scored_on)}; training examples by the cosine of the '
        f"model’s own vectors, out of {found.num_train}.</p>",
        *[line for mistake in found.mistakes for line in _mistake(mistake)],
    ]
    if found.note is not None:
        body.append(f'<p class="small">Without training examples: {escape(found.note)}</p>')
    return page(f"{found.task}: mistakes", body)


def _mistake(mistake: Mistake) -> list[str]:
    sure = f" ({mistake.confidence:.1%})" if mistake.confidence is not None else ""
    near = [
        f"<li>{own.similarity:+.2f} {escape(own.source)} → <b>{escape(own.reference)}</b></li>"
        for own in mistake.neighbours
    ]
    answer, reference = escape(mistake.answer), escape(mistake.reference)
    return [
        f'<h2 class="text">{escape(mistake.source)}</h2>',
        f'<p class="text">answered <b>{answer}</b>{sure}; right: <b>{reference}</b></p>',
        *(["<ul>", *near, "</ul>"] if near else []),
    ]
