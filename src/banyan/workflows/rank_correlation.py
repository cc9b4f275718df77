"""How alike two lists order the same things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation, -1 to 1; 0 where one of the lists puts nothing in order.

    Source: Spearman 1904; equal values share the mean of their ranks.
    """
    ranks = np.stack([_ranks(first), _ranks(second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=1))
    return float(ranks[0] @ ranks[1] / (lengths[0] * lengths[1])) if lengths.all() else 0.0


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    _, place, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    mean_ranks: NDArray[np.float64] = counts.cumsum() - (counts - 1) / 2
    return mean_ranks[place]
