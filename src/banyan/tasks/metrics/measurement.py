"""A measurement: one row of counts for each example, and the function from summed counts to scores.

Every official score we use (accuracy, F1 over spans, BLEU, chrF, ROUGE, bits per byte …) depends on the examples only
through sums. Keeping the rows makes confidence intervals, and paired comparisons of two systems, exact and cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
Scores: TypeAlias = dict[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What was counted on each example, and how the sums become scores.

    Shapes: statistics (examples, counts); summarize takes (counts,).
    """

    statistics: FloatArray
    summarize: Callable[[FloatArray], Scores]
    signatures: Mapping[str, str] = field(default_factory=dict)  # the official scorer's own description, by score
    lower_is_better: frozenset[str] = frozenset()  # scores that improve downwards

    def __len__(self) -> int:
        return len(self.statistics)

    def scores(self) -> Scores:
        """Return every score over all examples."""
        return self.summarize(self.statistics.sum(axis=0))

    def renamed(self, names: Mapping[str, str]) -> Measurement:
        """Keep only the scores in `names`, under their new names."""
        summarize = self.summarize
        return replace(
            self,
            summarize=lambda totals: {new: summarize(totals)[old] for old, new in names.items()},
            signatures={new: self.signatures[old] for old, new in names.items() if old in self.signatures},
            lower_is_better=frozenset(new for old, new in names.items() if old in self.lower_is_better),
        )

    def beside(self, other: Measurement) -> Measurement:
        """Return both measurements of the same examples as one."""
        border = self.statistics.shape[1]
        first, second = self.summarize, other.summarize
        return Measurement(
            statistics=np.concatenate([self.statistics, other.statistics], axis=1),
            summarize=lambda totals: first(totals[:border]) | second(totals[border:]),
            signatures={**self.signatures, **other.signatures},
            lower_is_better=self.lower_is_better | other.lower_is_better,
        )


def ratio(numerator: float, denominator: float) -> float:
    """Divide, taking nothing out of nothing as 0."""
    return float(numerator / denominator) if denominator else 0.0


def f1_score(matched: float, predicted: float, expected: float) -> float:
    """Return the harmonic mean of precision and recall from counts."""
    return ratio(2 * matched, predicted + expected)
