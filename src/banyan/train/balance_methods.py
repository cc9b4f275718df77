"""How the weights of the tasks move while a run learns: what each counts in the gradient, and how that is learned.

Every method is a function of what it remembers and of the losses of the steps, which all ranks know alike. Its memory
is plain numbers in the progress of the run: saved, resumed and taken back with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from banyan.train.balance import TaskBalance
from banyan.train.balance_config import BalanceConfig
from banyan.train.scalar_adam import ScalarAdam

SMALLEST_LOSS = 1e-8  # of a task that is as good as learned: its logarithm must stay a number


class BalanceMethod(Protocol):
    """What each task of a batch counts, beside its scale and its weight."""

    @property
    def looks_twice(self) -> bool:
        """Whether it learns from the losses of the same batch after the update as well."""
        ...

    def emphasis(self, memory: Mapping[str, Any], *, is_present: Sequence[bool]) -> tuple[float, ...] | None:
        """Return by what each task's part of the gradient is multiplied; None: by nothing."""
        ...

    def learned(
        self, memory: Mapping[str, Any], *, losses: Sequence[float], later_losses: Sequence[float] | None
    ) -> dict[str, Any]:
        """Return the memory after a step.

        `losses` are the tasks' mean losses in nats, NaN for one that was not there; `later_losses` those after the
        update, for a method that looks twice.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Equal:
    """Every task counts as its weight says, throughout."""

    looks_twice: bool = False

    def emphasis(self, memory: Mapping[str, Any], *, is_present: Sequence[bool]) -> None:
        """Return nothing."""

    def learned(
        self, memory: Mapping[str, Any], *, losses: Sequence[float], later_losses: Sequence[float] | None
    ) -> dict[str, Any]:
        """Return the memory as it is."""
        return dict(memory)


@dataclass(frozen=True, kw_only=True, slots=True)
class Uncertainty:
    """A task whose loss stays high counts less: each has a log-variance s, and the loss is  Σ exp(-s)·L + s/2.

    Source: Kendall, Gal and Cipolla 2018 (eq. 10), for classification. L is the loss divided by the task's scale; the
    log-variances are moved by an Adam of their own, at a rate that does not follow the run's schedule.
    """

    balance: TaskBalance
    adam: ScalarAdam
    looks_twice: bool = False

    def emphasis(self, memory: Mapping[str, Any], *, is_present: Sequence[bool]) -> tuple[float, ...]:
        """Return exp(-s) of each task."""
        values = _adam_memory(memory, self.adam, num=self.balance.num_tasks)["values"]
        return tuple(math.exp(-value) for value in values)

    def learned(
        self, memory: Mapping[str, Any], *, losses: Sequence[float], later_losses: Sequence[float] | None
    ) -> dict[str, Any]:
        """Move the log-variances of the tasks that were there."""
        adam = _adam_memory(memory, self.adam, num=self.balance.num_tasks)
        gradients = [
            None if math.isnan(loss) else 0.5 - math.exp(-value) * loss
            for value, loss in zip(adam["values"], _scaled(losses, self.balance), strict=True)
        ]
        return {"adam": self.adam.moved(adam, gradients)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Famo:
    """The task that has improved least counts most: logits ξ learn to even out how fast the log losses fall.

    A task counts  softmax(ξ) / L,  and all that are present add up to what they would by `equal`. After the update the
    same batch is looked at again without a backward pass, whatever the number of tasks.
    Source: Liu et al. 2023 (FAMO), algorithm 1. Deviation: L is a running mean over the steps before, so that it is
    known before the first micro-batch.
    """

    balance: TaskBalance
    adam: ScalarAdam
    smoothing: float
    looks_twice: bool = True

    def emphasis(self, memory: Mapping[str, Any], *, is_present: Sequence[bool]) -> tuple[float, ...]:
        """Return softmax(ξ) / L of the tasks that are there, brought to the sum of their weights."""
        num = self.balance.num_tasks
        shares = _softmax(_adam_memory(memory, self.adam, num=num)["values"], is_present)
        means = memory.get("losses", [None] * num)
        raw = [share / max(SMALLEST_LOSS, mean or 1.0) for share, mean in zip(shares, means, strict=True)]
        weights = [weight * here for weight, here in zip(self.balance.weights, is_present, strict=True)]
        total = math.fsum(weight * value for weight, value in zip(weights, raw, strict=True))
        return tuple(value * math.fsum(weights) / total for value in raw)

    def learned(
        self, memory: Mapping[str, Any], *, losses: Sequence[float], later_losses: Sequence[float] | None
    ) -> dict[str, Any]:
        """Move the logits by how much the logarithm of each loss has fallen, and take in the losses."""
        assert later_losses is not None, "famo looks twice"
        num = self.balance.num_tasks
        adam = _adam_memory(memory, self.adam, num=num)
        scaled, later = _scaled(losses, self.balance), _scaled(later_losses, self.balance)
        gains = [_log(before) - _log(after) for before, after in zip(scaled, later, strict=True)]
        shares = _softmax(adam["values"], [not math.isnan(gain) for gain in gains])
        mean = math.fsum(share * gain for share, gain in zip(shares, gains, strict=True) if not math.isnan(gain))
        gradients = [
            None if math.isnan(gain) else share * (gain - mean) for share, gain in zip(shares, gains, strict=True)
        ]
        means = memory.get("losses", [None] * num)
        return {
            "adam": self.adam.moved(adam, gradients),
            "losses": [running_mean(m, loss, smoothing=self.smoothing) for m, loss in zip(means, scaled, strict=True)],
        }


def balance_method(config: BalanceConfig, balance: TaskBalance) -> BalanceMethod:
    """Return the method a recipe asks for; db_mtl weighs gradients, not losses, and is a step of its own."""
    match config.method:
        case "uncertainty":
            return Uncertainty(balance=balance, adam=ScalarAdam(learning_rate=config.learning_rate))
        case "famo":
            adam = ScalarAdam(learning_rate=config.learning_rate, decay=config.decay)
            return Famo(balance=balance, adam=adam, smoothing=config.smoothing)
        case _:
            return Equal()


def running_mean(mean: float | None, value: float, *, smoothing: float) -> float | None:
    """Return a running mean with one more value; NaN is none, and the first one is the mean."""
    if math.isnan(value):
        return mean
    return value if mean is None else smoothing * mean + (1 - smoothing) * value


def _adam_memory(memory: Mapping[str, Any], adam: ScalarAdam, *, num: int) -> Mapping[str, Sequence[float]]:
    found: Mapping[str, Sequence[float]] = memory.get("adam") or adam.start(num)
    return found


def _scaled(losses: Sequence[float], balance: TaskBalance) -> list[float]:
    return [loss / scale for loss, scale in zip(losses, balance.scales, strict=True)]


def _log(loss: float) -> float:
    return loss if math.isnan(loss) else math.log(max(SMALLEST_LOSS, loss))


def _softmax(values: Sequence[float], is_present: Sequence[bool]) -> list[float]:
    """Return shares among those that are there; 0 for the others."""
    highest = max((value for value, here in zip(values, is_present, strict=True) if here), default=0.0)
    raw = [math.exp(value - highest) if here else 0.0 for value, here in zip(values, is_present, strict=True)]
    total = math.fsum(raw) or 1.0
    return [value / total for value in raw]
