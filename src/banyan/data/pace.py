"""Tasks that have stopped getting better are drawn less, until they get better again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Paces:
    """Counts, for each task, the validations without a better score."""

    def __init__(self, names: Sequence[str], *, slow_after: int, slow_factor: float) -> None:
        self._names = tuple(names)
        self._slow_after = slow_after
        self._slow_factor = slow_factor
        self._best: dict[str, float] = {}
        self._stalled: dict[str, int] = dict.fromkeys(names, 0)

    @property
    def factors(self) -> NDArray[np.float64]:
        """By what the share of each task is multiplied, shape (num_tasks,)."""
        is_slow = [self._stalled[name] >= self._slow_after for name in self._names]
        return np.where(is_slow, self._slow_factor, 1.0)

    def hear(self, scores: Mapping[str, float]) -> None:
        """Take in the scores of one validation; higher is better. One without a number keeps its count."""
        for name in self._names:
            if not math.isfinite(scores.get(name, math.nan)):
                continue
            is_better = name not in self._best or scores[name] > self._best[name]
            self._stalled[name] = 0 if is_better else self._stalled[name] + 1
            if is_better:
                self._best[name] = scores[name]

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {"best": dict(self._best), "stalled": dict(self._stalled)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._best, self._stalled = dict(state["best"]), dict(state["stalled"])
