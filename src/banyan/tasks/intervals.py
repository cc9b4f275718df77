"""How sure a score is: bootstrap intervals over examples, and paired comparisons of two systems.

Source: Efron 1979 (percentile bootstrap); Koehn 2004 (paired resampling of corpus scores such as BLEU); Holm 1979.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from banyan.core.errors import DataError
from banyan.tasks.metrics.measurement import FloatArray, Measurement

CONFIDENCE = 0.95
_CHUNK = 50  # resamples drawn at a time, so that memory stays small on large test sets


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """Where a score would lie in 95 of 100 test sets like this one."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How much better one system is than another on the same examples; above zero is better."""

    score: str
    improvement: float
    interval: Interval
    p_value: float  # two-sided: how often resampling turns the sign round; of one comparison, not corrected

    @property
    def is_better(self) -> bool:
        """Does the whole 95 % interval lie above zero?"""
        return self.interval.low > 0

    @property
    def is_worse(self) -> bool:
        """Does the whole 95 % interval lie below zero?"""
        return self.interval.high < 0


def confidence_intervals(measurement: Measurement, *, num_samples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % interval of every score; the same seed gives the same interval."""
    samples: dict[str, list[float]] = {}
    for totals in _resampled_totals(measurement.statistics, num_samples=num_samples, seed=seed):
        for name, value in measurement.summarize(totals).items():
            samples.setdefault(name, []).append(value)
    return {name: interval_of(values) for name, values in samples.items()}


def compare(
    measurement: Measurement, other: Measurement, *, score: str, num_samples: int = 1000, seed: int = 0
) -> Comparison:
    """Say how much better the first system's score is; both are resampled with the same examples.

    For scores where lower is better, such as bits per byte, the improvement is the decrease.
    Raises: DataError if the two were not measured on the same number of examples, or lack the score.
    """
    if len(measurement) != len(other):
        raise DataError(f"systems scored on {len(measurement)} and {len(other)} examples cannot be compared in pairs.")
    sign = -1.0 if score in measurement.lower_is_better else 1.0
    own, others = (
        resampled_scores(one, score=score, num_samples=num_samples, seed=seed) for one in (measurement, other)
    )
    improvement = sign * (measurement.scores()[score] - other.scores()[score])
    return resampled_comparison(score, improvement, sign * (own - others))


def resampled_scores(measurement: Measurement, *, score: str, num_samples: int = 1000, seed: int = 0) -> FloatArray:
    """Return a score on test sets drawn from the examples; one seed draws the same examples for every system.

    So two systems that were measured at different times can still be compared in pairs.
    Shapes: (num_samples,).
    """
    totals = _resampled_totals(measurement.statistics, num_samples=num_samples, seed=seed)
    return np.array([_named(measurement, total, score) for total in totals])


def resampled_comparison(score: str, improvement: float, differences_N: FloatArray) -> Comparison:
    """Return a comparison whose interval and p-value are those of the differences on resampled test sets."""
    differences: list[float] = differences_N.tolist()
    return Comparison(
        score=score, improvement=improvement, interval=interval_of(differences_N), p_value=_p_value(differences)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for having made so many comparisons: below 5 % is significant among them all.

    The chance that any of them is significant by accident stays below 5 %, whatever depends on whatever.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def _named(measurement: Measurement, totals: FloatArray, score: str) -> float:
    scores = measurement.summarize(totals)
    if score not in scores:
        raise DataError(f"score {score!r} was not measured; there are {', '.join(scores)}.")
    return scores[score]


def _resampled_totals(statistics: FloatArray, *, num_samples: int, seed: int) -> Iterator[FloatArray]:
    """Yield the summed counts of `num_samples` test sets drawn with replacement from the examples."""
    num_examples = len(statistics)
    if not num_examples:
        raise DataError("no examples were scored, so there is nothing to resample.")
    generator = np.random.default_rng(seed)
    shares = np.full(num_examples, 1 / num_examples)
    for start in range(0, num_samples, _CHUNK):
        draws = generator.multinomial(num_examples, shares, size=min(_CHUNK, num_samples - start))
        yield from draws.astype(np.float64) @ statistics


def _p_value(differences: list[float]) -> float:
    """Count the resamples on the rarer side of zero, twice; one more of each, so that no p-value is ever 0."""
    below = sum(value <= 0 for value in differences)
    above = sum(value >= 0 for value in differences)
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(differences)))


def interval_of(values: Sequence[float] | FloatArray) -> Interval:
    """Return the 95 % interval of a score from what it is on resampled test sets."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.asarray(values), [tail, 1 - tail])
    return Interval(low=float(low), high=float(high))
