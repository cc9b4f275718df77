"""The length of the gradient against what is usual for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from banyan.train.health.signals import Finding
from banyan.train.health.statistics import Usual

SIGMA = 6.0
LONGER = 3.0  # times the usual length, at least
ACTIVE_AFTER = 64  # steps
_WINDOW = 66  # ZClip's average keeps 0.97 of itself each step
_DAMPED = 3.0


class GradientLength:
    """Finds a gradient many times longer than those before it, and says how short it should be.

    Lengths spread like their logarithm's normal distribution, so they are judged on that scale. ZClip shortens from
    2.5 spreads on; over 5,000 healthy steps that changed one step in eighty, so this one waits for six.
    Source: ZClip, Kumar et al. 2025 (arXiv 2504.02507), reciprocal clipping: mean + spread · bound² / distance.
    """

    def __init__(self) -> None:
        self._usual = Usual(window=_WINDOW)

    def spike(self, length: float) -> tuple[float, Finding] | None:
        """Return the length to shorten a gradient to, if it is a spike."""
        usual = self._usual
        if usual.count < ACTIVE_AFTER or length <= 0:
            return None
        distance = (math.log(length) - usual.mean) / (usual.std + 1e-3)
        if distance <= SIGMA or math.log(length) - usual.mean < math.log(LONGER):
            return None
        wanted = math.exp(usual.mean + usual.std * SIGMA * SIGMA / distance)
        return wanted, Finding(signal="gradient_spike", value=distance, threshold=SIGMA)

    def add(self, length: float) -> None:
        """Take in the length of a step's gradient; one that strays far counts as if it strayed less."""
        if not 0 < length < math.inf:
            return
        high = self._usual.mean + _DAMPED * self._usual.std if self._usual.count >= ACTIVE_AFTER else math.inf
        self._usual.add(min(math.log(length), high))

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return self._usual.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._usual = Usual(**state)
