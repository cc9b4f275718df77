"""Adam over a handful of numbers, in Python's own floats: its memory is plain JSON, the same on every rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

AdamMemory: TypeAlias = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalarAdam:
    """Moves numbers against their gradients; it holds nothing, what it remembers is handed in and out.

    Source: Kingma and Ba 2015, algorithm 1; the decay is added to the gradient, as in torch.optim.Adam. A number
    without a gradient rests, and counts its own updates.
    """

    learning_rate: float
    decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def start(self, num: int) -> AdamMemory:
        """Return the memory of so many numbers that are 0."""
        return {name: [0.0] * num for name in ("values", "means", "squares", "counts")}

    def moved(self, memory: Mapping[str, Sequence[float]], gradients: Sequence[float | None]) -> AdamMemory:
        """Return the memory after one update."""
        old = zip(memory["values"], memory["means"], memory["squares"], memory["counts"], strict=True)
        new = [self._moved(place, gradient) for place, gradient in zip(old, gradients, strict=True)]
        values, means, squares, counts = (list(column) for column in zip(*new, strict=True))
        return {"values": values, "means": means, "squares": squares, "counts": counts}

    def _moved(
        self, place: tuple[float, float, float, float], gradient: float | None
    ) -> tuple[float, float, float, float]:
        if gradient is None:
            return place
        value, mean, square, count = place
        gradient += self.decay * value
        count += 1
        mean = self.beta1 * mean + (1 - self.beta1) * gradient
        square = self.beta2 * square + (1 - self.beta2) * gradient * gradient
        size = math.sqrt(square / (1 - self.beta2**count)) + self.epsilon
        return value - self.learning_rate * mean / (1 - self.beta1**count) / size, mean, square, count
