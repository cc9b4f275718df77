"""Calibration: whether a classifier that says 80 % is right 80 times in 100, and the temperature that mends it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import DataError
from banyan.tasks.metrics.measurement import FloatArray, Measurement, Scores, ratio

NUM_BINS = 15
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0
_SHARE_STEPS = 20
_COUNTS = 3  # of each bin: examples, probability given, right answers


def measure_calibration(confidences: Sequence[float], is_right: Sequence[bool]) -> Measurement:
    """Count how sure a classifier was and how often it was right, in 15 bins of equal width and of equal size.

    Raises: DataError if the two sequences differ in length.
    Source: Naeini et al. 2015; Guo et al. 2017 (equation 3); bins of equal size, Nixon et al. 2019 (on the top label).
    """
    if len(confidences) != len(is_right):
        raise DataError(f"{len(confidences)} probabilities cannot be scored against {len(is_right)} answers.")
    given, right = np.asarray(confidences, dtype=np.float64), np.asarray(is_right, dtype=np.float64)
    bins = (_bins_of_equal_width(given), _bins_of_equal_size(given))
    statistics = np.concatenate([_counts(numbers, given, right) for numbers in bins], axis=1)
    return Measurement(
        statistics=statistics,
        summarize=_calibration_scores,
        signatures=dict.fromkeys(("ece", "adaptive_ece"), f"top label, {NUM_BINS} bins, L1"),
        lower_is_better=frozenset({"ece", "adaptive_ece"}),
    )


def tempered(probs: Sequence[float], temperature: float) -> tuple[float, ...]:
    """Return probabilities as they are after their logits are divided by a temperature; their order stays."""
    if temperature == 1:
        return tuple(probs)
    logs = [math.log(prob) / temperature if prob > 0 else -math.inf for prob in probs]
    weights = [math.exp(log - max(logs)) for log in logs]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def pooled(
    first_NL: Sequence[Sequence[float]], second_NL: Sequence[Sequence[float]], *, share: float
) -> list[tuple[float, ...]]:
    """Return the probabilities of two opinions whose logits are added up, the second one's with this share of 1.

    Shapes: one row of L probabilities for each example.
    Source: Heskes 1998 (logarithmic opinion pools).
    """
    logs_NL = (1 - share) * _logs(first_NL) + share * _logs(second_NL)
    weights_NL = np.exp(logs_NL - logs_NL.max(axis=1, keepdims=True))
    return [tuple(row) for row in (weights_NL / weights_NL.sum(axis=1, keepdims=True)).tolist()]


def fit_share(
    first_NL: Sequence[Sequence[float]], second_NL: Sequence[Sequence[float]], expected_N: Sequence[int]
) -> float:
    """Return the share of the second opinion, in steps of 0.05, with which the expected labels are likeliest.

    Every share is judged under its own best temperature, so that only the balance of the two counts; of equally good
    ones the most even is taken.
    Shapes: one row of L probabilities for each example, and the number of its label.
    Raises: DataError if there are no examples.
    """
    _require_examples(expected_N)

    def loss(share: float) -> float:
        probs_NL = pooled(first_NL, second_NL, share=share)
        logs_NL = _logs(probs_NL) / fit_temperature(probs_NL, expected_N)
        due_N = logs_NL[np.arange(len(logs_NL)), np.asarray(expected_N)]
        return float((np.logaddexp.reduce(logs_NL, axis=1) - due_N).mean())

    shares = sorted((step / _SHARE_STEPS for step in range(_SHARE_STEPS + 1)), key=lambda share: abs(share - 0.5))
    return min(shares, key=loss)


def fit_temperature(probs_NL: Sequence[Sequence[float]], expected_N: Sequence[int]) -> float:
    """Return the temperature under which the expected labels are likeliest, between 0.05 and 20.

    Shapes: one row of L probabilities for each example, and the number of its label.
    The mean log-likelihood is concave in 1 / temperature, so the root of its slope is found by halving.
    Raises: DataError if there are no examples.
    Source: Guo et al. 2017 (section 4.2, temperature scaling).
    """
    _require_examples(expected_N)
    logs_NL = _logs(probs_NL)
    due_N = logs_NL[np.arange(len(logs_NL)), np.asarray(expected_N)]
    low, high = 1 / HIGHEST_TEMPERATURE, 1 / LOWEST_TEMPERATURE
    for _ in range(60):
        middle = (low + high) / 2
        if _slope(logs_NL, due_N, sharpness=middle) > 0:
            low = middle
        else:
            high = middle
    return 2 / (low + high)


def _require_examples(expected_N: Sequence[int]) -> None:
    if not len(expected_N):
        raise DataError("a temperature cannot be fitted without examples.", hint="name a file: --data task=file")


def _logs(probs_NL: Sequence[Sequence[float]]) -> FloatArray:
    return np.log(np.maximum(np.asarray(probs_NL, dtype=np.float64), np.finfo(np.float64).tiny))


def _slope(logs_NL: FloatArray, due_N: FloatArray, *, sharpness: float) -> float:
    weights_NL = np.exp(sharpness * (logs_NL - logs_NL.max(axis=1, keepdims=True)))
    probs_NL = weights_NL / weights_NL.sum(axis=1, keepdims=True)
    return float((due_N - (probs_NL * logs_NL).sum(axis=1)).mean())


def _bins_of_equal_width(given: FloatArray) -> NDArray[np.int64]:
    """Number the bins (0, 1/15], (1/15, 2/15] … as the definition has them."""
    return np.clip(np.searchsorted(np.arange(NUM_BINS + 1) / NUM_BINS, given, side="left") - 1, 0, NUM_BINS - 1)


def _bins_of_equal_size(given: FloatArray) -> NDArray[np.int64]:
    """Number bins by rank; examples with the same probability share a bin, so that their order does not matter."""
    first_rank = np.searchsorted(np.sort(given), given, side="left")
    return first_rank * NUM_BINS // max(1, len(given))


def _counts(bins: NDArray[np.int64], given: FloatArray, right: FloatArray) -> FloatArray:
    counts = np.zeros((len(bins), NUM_BINS, _COUNTS))
    counts[np.arange(len(bins)), bins] = np.stack([np.ones_like(given), given, right], axis=1)
    return counts.reshape(len(bins), NUM_BINS * _COUNTS)


def _calibration_scores(totals: FloatArray) -> Scores:
    bins = totals.reshape(2, NUM_BINS, _COUNTS)
    errors = np.abs(bins[:, :, 1] - bins[:, :, 2]).sum(axis=1)  # a bin's gap, weighed by its examples
    return {name: ratio(errors[way], bins[way, :, 0].sum()) for way, name in enumerate(("ece", "adaptive_ece"))}
