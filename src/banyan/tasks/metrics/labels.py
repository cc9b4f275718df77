"""Accuracy and macro-F1 of single labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from banyan.core.errors import DataError
from banyan.tasks.metrics.measurement import FloatArray, Measurement, Scores, f1_score, ratio

_SIGNATURES = {
    "accuracy": "share of right labels",
    "macro_f1": "mean F1 of the labels that occur, as scikit-learn's f1_score(average='macro')",
}


def measure_labels(expected: Sequence[str], answered: Sequence[str], *, labels: Sequence[str]) -> Measurement:
    """Count right answers, and for each label how often it was right, given and due.

    Macro-F1 averages over the labels that occur among the expected or the answered ones, as scikit-learn does.
    Raises: DataError if the two sequences differ in length.
    """
    if len(expected) != len(answered):
        raise DataError(f"{len(answered)} answers cannot be scored against {len(expected)} examples.")
    index = {label: number for number, label in enumerate(dict.fromkeys([*labels, *expected, *answered]))}
    statistics = np.zeros((len(expected), 2 + 3 * len(index)))
    for row, due, given in zip(statistics, expected, answered, strict=True):
        row[0] = due == given
        row[1] = 1
        row[2 + 3 * index[due]] = due == given
        row[2 + 3 * index[given] + 1] += 1
        row[2 + 3 * index[due] + 2] += 1
    return Measurement(statistics=statistics, summarize=_label_scores, signatures=_SIGNATURES)


def _label_scores(totals: FloatArray) -> Scores:
    per_label = [f1_score(*counts) for counts in totals[2:].reshape(-1, 3) if counts[1:].any()]
    return {"accuracy": ratio(totals[0], totals[1]), "macro_f1": ratio(sum(per_label), len(per_label))}
