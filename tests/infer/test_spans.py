"""Span decoding against a search through every span."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import InputError
from banyan.core.types import Span
from banyan.infer.spans import best_span


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_best_legal_span_and_its_probability_equal_a_full_search(data: st.DataObject) -> None:
    length = data.draw(st.integers(2, 10))
    first = data.draw(st.integers(1, length - 1))
    last = data.draw(st.integers(first, length - 1))
    decoding = Span(
        head="qa",
        first=first,
        last=last,
        max_tokens=data.draw(st.integers(1, 12)),
        may_be_empty=data.draw(st.booleans()),
    )
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    logits = torch.randn(length, 2, generator=generator, dtype=torch.float64) * 3
    weights: dict[tuple[int, int] | None, float] = {
        (start, end): math.exp(float(logits[start, 0] + logits[end, 1]))
        for start in range(first, last + 1)
        for end in range(start, min(last + 1, start + decoding.max_tokens))
    }
    if decoding.may_be_empty:
        weights[None] = math.exp(float(logits[0].sum()))
    span, prob = best_span(logits, decoding)
    assert span == max(weights, key=weights.__getitem__)
    assert prob == pytest.approx(weights[span] / math.fsum(weights.values()))


def test_nothing_is_answered_only_where_that_is_allowed() -> None:
    logits = torch.zeros(4, 2)
    logits[0] = 50
    assert best_span(logits, Span(head="qa", first=1, last=3, may_be_empty=True))[0] is None
    assert best_span(logits, Span(head="qa", first=1, last=3))[0] is not None


def test_an_empty_context_has_the_empty_answer_or_an_error() -> None:
    assert best_span(torch.zeros(4, 2), Span(head="qa", first=3, last=2, may_be_empty=True)) == (None, 1.0)
    with pytest.raises(InputError, match="empty"):
        best_span(torch.zeros(4, 2), Span(head="qa", first=3, last=2))


@pytest.mark.parametrize(("first", "last", "max_tokens"), [(-1, 2, 3), (1, 4, 3), (1, 2, 0)])
def test_bounds_outside_the_prompt_are_refused(first: int, last: int, max_tokens: int) -> None:
    with pytest.raises(InputError, match="do not fit"):
        best_span(torch.zeros(4, 2), Span(head="qa", first=first, last=last, max_tokens=max_tokens))
