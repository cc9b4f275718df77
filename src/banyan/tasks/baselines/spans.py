"""Question answering without a Transformer: one fixed stretch of every context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from banyan.core.types import Prediction
from banyan.tasks.metrics.answers import score_answer
from banyan.tasks.question_answering import QuestionExample
from banyan.tasks.units import Unit, split_units

_NUM_COMMON = 50  # training answers' own places that are tried, the commonest first
_MAX_LEAD = 16  # leads of 1 to this many words are tried too
_NUM_SCORED = 300  # training questions each candidate is scored on


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedSpan:
    """Words `first` to `first + length` of any context; a length of 0 is no answer."""

    first: int
    length: int

    def cut(self, units: Sequence[Unit]) -> tuple[int, int] | None:
        """Return the characters of the stretch, end exclusive; None where the context is too short for it."""
        inside = units[self.first : self.first + self.length]
        return (inside[0].start, inside[-1].end) if inside else None


def best_fixed_span(
    task: str, train: Sequence[QuestionExample], *, seed: int
) -> Callable[[Sequence[QuestionExample]], list[Prediction]]:
    """Answer every question with the same stretch: the one with the best F1 on training questions."""
    chosen = np.random.default_rng(seed).permutation(len(train))[:_NUM_SCORED]
    scored = [(train[number], split_units(train[number].context)) for number in chosen]
    best = max(_candidates(train), key=lambda span: sum(_f1(span, example, units) for example, units in scored))
    return lambda examples: [_predict(task, best, example.context) for example in examples]


def _candidates(train: Sequence[QuestionExample]) -> list[FixedSpan]:
    places = Counter(place for example in train if (place := _place(example)) is not None)
    common = [place for place, _ in places.most_common(_NUM_COMMON)]
    leads = [FixedSpan(first=0, length=length) for length in range(_MAX_LEAD + 1)]
    return list(dict.fromkeys(common + leads))


def _place(example: QuestionExample) -> FixedSpan | None:
    """Return where the first right answer stands, in words."""
    if not example.answers:
        return None
    answer = example.answers[0]
    inside = [n for n, u in enumerate(split_units(example.context)) if u.start < answer.end and u.end > answer.start]
    return FixedSpan(first=inside[0], length=len(inside)) if inside else None


def _f1(span: FixedSpan, example: QuestionExample, units: Sequence[Unit]) -> float:
    place = span.cut(units)
    references = [answer.text for answer in example.answers or ()]
    return score_answer(references, "" if place is None else example.context[slice(*place)])[1]


def _predict(task: str, span: FixedSpan, context: str) -> Prediction:
    place = span.cut(split_units(context))
    return Prediction(task=task, text="" if place is None else context[slice(*place)], span=place)
