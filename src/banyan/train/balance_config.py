"""The recipe's `train.balance`: by which rule the losses of the tasks are weighed against each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal, TypeAlias

from banyan.core.config import config
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.registry import did_you_mean

BalanceName: TypeAlias = Literal["equal", "uncertainty", "famo", "db_mtl"]
MAX_GRADIENTS = 4  # gradients of the whole model that db_mtl holds at once


@config
class BalanceConfig:
    """Every task counts the same from the first step to the last, unless a method learns otherwise."""

    method: BalanceName = "equal"
    learning_rate: float = 0.025  # of what uncertainty and famo learn
    decay: float = 0.01  # of famo's logits
    smoothing: float = 0.9  # famo, db_mtl: weight of the past in a running mean
    groups: tuple[tuple[str, ...], ...] = ()  # db_mtl: names of tasks that share one gradient

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"train.balance.learning_rate={self.learning_rate} must be above 0.")
        for name in ("decay", "smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"train.balance.{name}={getattr(self, name)} must be at least 0 and below 1.")
        if self.groups and self.method != "db_mtl":
            raise ConfigError(
                f"train.balance.groups has no meaning for train.balance.method={self.method}.",
                hint="leave groups out, or set train.balance.method=db_mtl",
            )
        names = list(chain.from_iterable(self.groups))
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"train.balance.groups names the task {doubled!r} twice; a task has one group.")


def task_groups(
    config: BalanceConfig, task_names: Sequence[str], *, world_size: int = 1
) -> tuple[tuple[int, ...], ...] | None:
    """Return the tasks that share a gradient, by their numbers; None: all tasks share one.

    With db_mtl, a task that no group names stands alone.
    Raises: UnknownNameError for a group of a task that the run does not have; ConfigError for too many gradients, or
    several processes.
    """
    if config.method != "db_mtl":
        return None
    if world_size > 1:
        raise ConfigError(
            f"train.balance.method=db_mtl works in one process, and this run has {world_size}.",
            hint="use train.balance.method=famo, which works in any number",
        )
    named = list(chain.from_iterable(config.groups))
    if unknown := next((name for name in named if name not in task_names), None):
        raise UnknownNameError(
            f"train.balance.groups names no task of this run: {unknown!r}{did_you_mean(unknown, task_names)}"
        )
    alone = [(name,) for name in task_names if name not in named]
    groups = [tuple(task_names.index(name) for name in group) for group in (*config.groups, *alone) if group]
    if len(groups) > MAX_GRADIENTS:
        raise ConfigError(
            f"train.balance.method=db_mtl would hold {len(groups)} gradients of the whole model at once; at most "
            f"{MAX_GRADIENTS} are allowed.",
            hint="put tasks together in train.balance.groups, or use train.balance.method=famo",
        )
    return tuple(groups)
