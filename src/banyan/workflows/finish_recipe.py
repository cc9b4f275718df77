"""The `finish:` section of a recipe: after a joint run each task is taught a little by itself, where that helps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.model.adapters import LoraConfig
from banyan.tasks.config import TaskConfig

_NOT_FINISHED = ("language_modeling", "image_generation")


@config
class FinishRecipe:
    """How long, and how, a task is finished. What does not raise its validation score is thrown away."""

    tasks: tuple[str, ...] = ()  # empty: all but running text and pictures
    steps: int | None = None  # of each task
    minutes: float | None = None  # of each task, where no steps are given
    rate: float = 1.0  # times the recipe's learning rates
    lora: LoraConfig = dataclasses.field(default_factory=LoraConfig)  # the adapter that learns
    max_examples: int = 1000  # of the validation split, on which it must be better

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ConfigError(
                f"finish.steps={self.steps} and finish.minutes={self.minutes}: one of them says how long.",
                hint="a twentieth of what the task had in the run is a good beginning, such as finish.minutes=1",
            )
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"finish.steps={self.steps} must be 1 or more.")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ConfigError(f"finish.minutes={self.minutes} must be above 0.")
        if not 0 < self.rate < math.inf:
            raise ConfigError(f"finish.rate={self.rate} must be above 0: it multiplies the learning rates.")
        if self.max_examples < 1:
            raise ConfigError(f"finish.max_examples={self.max_examples} must be 1 or more.")

    def names_among(self, tasks: Sequence[TaskConfig]) -> tuple[str, ...]:
        """Return which tasks of a recipe are finished."""
        return self.tasks or tuple(task.name for task in tasks if task.kind not in _NOT_FINISHED)

    def check_judged(self, validation: Mapping[str, Sequence[Any]]) -> None:
        """Make sure, before anything is trained, that the finish of each task can be judged; rows or examples by task.

        Raises: ConfigError naming a task without any.
        """
        if lacking := next((name for name, examples in validation.items() if not examples), None):
            raise ConfigError(
                f"finish cannot be done for the task {lacking}: it has 0 validation examples, and a finish is kept "
                "only where it answers those better.",
                hint=f"set tasks.{lacking}.data.validation, or leave it out of finish.tasks",
            )
