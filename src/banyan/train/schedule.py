"""How the learning rate moves over a run: pure functions of how far the run has come."""

from __future__ import annotations

import math
from typing import Literal

from banyan.core.config import config
from banyan.core.errors import ConfigError

ONE_CYCLE_START = 0.04  # of the peak, where a one-cycle run begins


@config
class ScheduleConfig:
    """Shape of the learning rate: up during warm-up, then along the named curve to a last value.

    wsd: constant, then straight down over the last `decay_fraction` of the steps. cosine, linear: down from the peak at
    once. constant: stays. one_cycle: half a cosine up, half a cosine down.
    """

    name: Literal["wsd", "cosine", "linear", "constant", "one_cycle"] = "wsd"
    warmup_fraction: float = 0.02  # of all steps
    decay_fraction: float = 0.6  # of all steps; wsd only
    final_fraction: float = 0.05  # of the peak, at the last step

    def __post_init__(self) -> None:
        for name in ("warmup_fraction", "decay_fraction", "final_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"schedule.{name}={getattr(self, name)} must lie between 0 and 1.")
        if self.name == "wsd" and self.warmup_fraction + self.decay_fraction > 1:
            raise ConfigError(
                f"schedule.warmup_fraction={self.warmup_fraction} and schedule.decay_fraction={self.decay_fraction} "
                "are more than the whole run together; their sum may be at most 1."
            )


def learning_rate_factor(step: int, *, num_steps: int, schedule: ScheduleConfig) -> float:
    """Return the part of the peak learning rate that step 1 … `num_steps` uses, at most 1."""
    warmup_steps = round(schedule.warmup_fraction * num_steps)
    if step <= warmup_steps:
        return _warm_up(step / warmup_steps, schedule)
    decay_start = round((1 - schedule.decay_fraction) * num_steps) if schedule.name == "wsd" else warmup_steps
    progress = max(0, step - decay_start) / max(1, num_steps - decay_start)
    return 1 - (1 - schedule.final_fraction) * _descent(min(1.0, progress), schedule)


def _warm_up(progress: float, schedule: ScheduleConfig) -> float:
    if schedule.name == "one_cycle":
        return ONE_CYCLE_START + (1 - ONE_CYCLE_START) * _half_cosine(progress)
    return progress


def _descent(progress: float, schedule: ScheduleConfig) -> float:
    """Return how much of the way down from the peak lies behind, 0 … 1."""
    if schedule.name == "constant":
        return 0.0
    return _half_cosine(progress) if schedule.name in ("cosine", "one_cycle") else progress


def _half_cosine(progress: float) -> float:
    return (1 - math.cos(math.pi * progress)) / 2
