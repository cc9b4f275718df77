"""Batches learned a while ago, by their place in the data: what a sound model still knows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from banyan.train.balance import TaskBalance

_EVERY = 64  # steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """One batch, and how well it was answered when it was learned."""

    step: int
    place: Mapping[str, Any]
    loss: float  # balanced


class Anchors:
    """Keeps the newest two; the older one was learned well before any trouble that has just begun."""

    def __init__(self) -> None:
        self._kept: list[Anchor] = []

    @property
    def earlier(self) -> Anchor | None:
        """The older one, if there is one."""
        return self._kept[0] if self._kept else None

    def add(self, loss: float, *, step: int, place: Mapping[str, Any]) -> None:
        """Take in a step that was learned from, if it is time."""
        if step % _EVERY == 0:
            self._kept = [*self._kept, Anchor(step=step, place=place, loss=loss)][-2:]

    def state(self) -> list[dict[str, Any]]:
        """Return everything, ready for JSON."""
        return [asdict(anchor) for anchor in self._kept]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on with what `state` returned."""
        self._kept = [Anchor(**entry) for entry in state]


def balanced(task_losses: Sequence[float], balance: TaskBalance) -> float:
    """Return the step's loss that the mean losses of the tasks amount to; NaN for a task that is not there.

    Units: nats in, parts of what a guesser scores out.
    """
    present = [
        (weight, loss / scale)
        for loss, weight, scale in zip(task_losses, balance.weights, balance.scales, strict=True)
        if not math.isnan(loss)
    ]
    if not present:
        return math.nan
    return math.fsum(weight * loss for weight, loss in present) / math.fsum(weight for weight, _ in present)
