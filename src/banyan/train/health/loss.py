"""The loss of every task against what is usual for it: spikes in one step, and a rise that lasts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from banyan.train.health.signals import Finding
from banyan.train.health.statistics import Usual

SIGMA = 6.0  # so many spreads above the mean is a spike
ACTIVE_AFTER = 64  # values of a series before it is judged
# Nats: the spread of one target's loss. A mean over few targets may stray far without anything being wrong.
TARGET_SPREAD = 1.5
_DAMPED = 3.0  # spreads: a spike moves the mean no further than a value this far out

_SMOOTH = 50  # steps in the average whose rise is watched
_RISE_NATS = 0.3
_RISE_SIGMA = 5.0
_RISE_STEPS = 50  # for so long it must stay up

_QUICK = 8  # steps whose mean is held against those shortly before
_BEFORE = 32  # steps: short enough not to lag behind a loss that falls
_QUICK_STEPS = 3  # for so long it must stay up


class LossSpikes:
    """Remembers the usual loss of each task and finds the one that is far above it."""

    def __init__(self, num_tasks: int) -> None:
        self._usual = [Usual() for _ in range(num_tasks)]

    def spike(
        self, task_losses: Sequence[float], num_targets: Callable[[], Sequence[float]]
    ) -> tuple[int, Finding] | None:
        """Return the task whose loss is farthest above the usual, if it is farther than six spreads.

        `num_targets` is asked only where a loss looks high.
        Units: losses in nats, NaN for a task that is not in the step. The finding's value counts spreads.
        """
        high = [task for task, usual in enumerate(self._usual) if _is_high(task_losses[task], usual)]
        if not high:
            return None
        targets = num_targets()
        distance, task = max((_distance(task_losses[task], self._usual[task], targets[task]), task) for task in high)
        return (task, Finding(signal="bad_batch", value=distance, threshold=SIGMA)) if distance > SIGMA else None

    def add(self, task_losses: Sequence[float]) -> None:
        """Take in the losses of a step; one that strays far counts as if it strayed less."""
        for loss, usual in zip(task_losses, self._usual, strict=True):
            if math.isfinite(loss):
                high = usual.mean + _DAMPED * usual.std if usual.count >= ACTIVE_AFTER else math.inf
                usual.add(min(loss, high))

    def accept(self, task_losses: Sequence[float]) -> None:
        """Start anew: what was a spike is the rule from here on."""
        self._usual = [Usual() for _ in self._usual]
        self.add(task_losses)

    def state(self) -> list[Any]:
        """Return everything, ready for JSON."""
        return [usual.state() for usual in self._usual]

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on with what `state` returned."""
        self._usual = [Usual(**entry) for entry in state]


def _is_high(loss: float, usual: Usual) -> bool:
    return usual.count >= ACTIVE_AFTER and loss > usual.mean + SIGMA * usual.std


def _distance(loss: float, usual: Usual, num_targets: float) -> float:
    return (loss - usual.mean) / math.sqrt(usual.variance + TARGET_SPREAD**2 / max(1.0, num_targets))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rise:
    """A loss that has left its level."""

    finding: Finding
    sound_until: int  # step
    is_quick: bool  # seen within a few steps: it may still be the data that has changed


class LossRise:
    """Finds a loss that has left its level and stays away: at once by much, or for fifty steps by a little.

    Judged on the step's balanced loss, for tasks come and go; the bounds are in nats of the average task.
    """

    def __init__(self, *, nats_per_unit: float) -> None:
        self._nats_per_unit = nats_per_unit
        self._usual = Usual(window=_BEFORE)
        self._recent: list[float] = []
        self._num_quick = 0
        self._level = Usual(window=_SMOOTH)
        self._best = math.inf
        self._best_step = 0
        self._num_high = 0

    @property
    def level(self) -> float:
        """The loss, averaged over about fifty steps."""
        return self._level.mean

    def add(self, loss: float, *, step: int) -> Rise | None:
        """Take in a step's loss; return the rise that is certain now.

        Units: loss in parts of what a guesser scores; the finding in nats.
        """
        self._level.add(loss)
        self._recent.append(loss)
        if len(self._recent) > _QUICK:
            self._usual.add(self._recent.pop(0))  # what is usual does not yet know of the newest steps
        return self._quick_rise(step) or self._slow_rise(loss, step)

    def accept(self) -> None:
        """Start anew: the level of now is the rule from here on."""
        self._usual, self._level, self._best = Usual(window=_BEFORE), Usual(window=_SMOOTH), math.inf
        self._num_quick = self._num_high = 0

    def _quick_rise(self, step: int) -> Rise | None:
        usual = self._usual
        if usual.count < ACTIVE_AFTER:
            return None
        bound = max(_RISE_NATS / self._nats_per_unit, SIGMA * usual.std / math.sqrt(_QUICK))
        rise = math.fsum(self._recent) / len(self._recent) - usual.mean
        self._num_quick = self._num_quick + 1 if rise > bound else 0
        if self._num_quick != _QUICK_STEPS:
            return None
        return Rise(finding=self._finding(rise, bound), sound_until=step - _QUICK - _QUICK_STEPS, is_quick=True)

    def _slow_rise(self, loss: float, step: int) -> Rise | None:
        if self._level.count < ACTIVE_AFTER:
            return None
        if self._level.mean < self._best:
            self._best, self._best_step = self._level.mean, step
        # The average of fifty strays less than one value does.
        strays = _RISE_SIGMA * self._level.std / math.sqrt(_SMOOTH / 2)
        bound = max(_RISE_NATS / self._nats_per_unit, strays)
        rise = self._level.mean - self._best
        self._num_high = self._num_high + 1 if rise > bound else 0
        if self._num_high < _RISE_STEPS:
            return None
        return Rise(finding=self._finding(rise, bound), sound_until=self._best_step, is_quick=False)

    def _finding(self, rise: float, bound: float) -> Finding:
        return Finding(signal="diverged", value=rise * self._nats_per_unit, threshold=bound * self._nats_per_unit)

    def state(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "usual": self._usual.state(),
            "recent": list(self._recent),
            "num_quick": self._num_quick,
            "level": self._level.state(),
            "best": None if math.isinf(self._best) else self._best,
            "best_step": self._best_step,
            "num_high": self._num_high,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state` returned."""
        self._usual, self._level = Usual(**state["usual"]), Usual(**state["level"])
        self._recent, self._num_quick = list(state["recent"]), state["num_quick"]
        self._best = math.inf if state["best"] is None else state["best"]
        self._best_step, self._num_high = state["best_step"], state["num_high"]
