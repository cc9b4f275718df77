"""Spans: the best stretch of the context, or nothing where that is an answer too."""

from __future__ import annotations

import torch
from torch import Tensor

from banyan.core.errors import InputError
from banyan.core.types import Span

NO_ANSWER_POSITION = 0  # where a span head puts both marks when the context holds no answer


def best_span(logits_N2: Tensor, decoding: Span) -> tuple[tuple[int, int] | None, float]:
    """Return the best legal span as (first, last) positions, and its probability among all legal answers.

    A span lies between `decoding.first` and `decoding.last` and has at most `decoding.max_tokens` tokens; None is
    returned only where the answer may be empty.
    Shapes: logits (N, 2), start and end, for every position of the prompt.
    Raises: InputError if no position may hold the answer and the answer may not be empty.
    """
    check_span(decoding, num_positions=len(logits_N2))
    scores_N2 = _restrict(logits_N2.double().cpu(), decoding)
    spans_CW = _span_scores(scores_N2, decoding)
    empty = scores_N2[NO_ANSWER_POSITION].sum() if decoding.may_be_empty else torch.tensor(-torch.inf).double()
    total = torch.cat([spans_CW.flatten(), empty[None]]).logsumexp(dim=0)
    if spans_CW.numel() == 0 or empty >= spans_CW.max():
        return None, float((empty - total).exp())
    start, length = divmod(int(spans_CW.argmax()), spans_CW.shape[1])
    first = decoding.first + start
    return (first, first + length), float((spans_CW.max() - total).exp())


def check_span(decoding: Span, *, num_positions: int) -> None:
    """Refuse a span question that has no possible answer.

    Raises: InputError if the bounds leave the prompt, or nothing may be answered.
    """
    if not (decoding.first >= 0 and decoding.last < num_positions and decoding.max_tokens >= 1):
        raise InputError(
            f"span bounds {decoding.first}..{decoding.last} (at most {decoding.max_tokens} tokens) do not fit a prompt "
            f"of {num_positions} tokens."
        )
    if decoding.first > decoding.last and not decoding.may_be_empty:
        raise InputError("the context is empty, so it cannot hold an answer.", hint="give a context with some text")


def _restrict(logits_N2: Tensor, decoding: Span) -> Tensor:
    """Return log-probabilities over the allowed positions alone."""
    is_allowed = torch.zeros(len(logits_N2), dtype=torch.bool)
    is_allowed[decoding.first : decoding.last + 1] = True
    if decoding.may_be_empty:
        is_allowed[NO_ANSWER_POSITION] = True
    return logits_N2.masked_fill(~is_allowed[:, None], -torch.inf).log_softmax(dim=0)


def _span_scores(scores_N2: Tensor, decoding: Span) -> Tensor:
    """Score every span by its start (row) and its length less one (column); minus infinity beyond the last position.

    Shapes: (C, W) for C context positions and W = the longest span.
    """
    context = scores_N2[decoding.first : decoding.last + 1]
    width = min(decoding.max_tokens, max(len(context), 1))
    padded_ends = torch.cat([context[:, 1], context.new_full((width - 1,), -torch.inf)])
    return context[:, :1] + (padded_ends.unfold(0, width, 1) if len(context) else context.new_empty((0, width)))
