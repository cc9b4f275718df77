"""What is usual for a series of numbers, remembered in two of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(kw_only=True, slots=True)
class Usual:
    """Mean and spread of a series, the last `window` values counting most.

    An exponential average with the mean age of a window of that length: two numbers a series instead of a window,
    and the same after a restart. Source: the window of OLMo-core's skip-step optimizer; the average of ZClip (2025).
    """

    window: int = 128
    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    @property
    def std(self) -> float:
        """The spread."""
        return math.sqrt(self.variance)

    def add(self, value: float) -> None:
        """Take in the next value."""
        self.count += 1
        rate = max(1 / self.count, 2 / (self.window + 1))
        change = value - self.mean
        self.mean += rate * change
        self.variance = (1 - rate) * (self.variance + rate * change * change)

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return asdict(self)
