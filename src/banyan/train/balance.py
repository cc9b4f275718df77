"""How much each task counts: its scale, so that all losses start near 1, and its weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from banyan.core.errors import ConfigError
from banyan.core.types import HeadKind, HeadSpec
from banyan.model.transformer import Transformer


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskBalance:
    """The constants that turn each task's loss in nats into its part of the step's loss."""

    scales: tuple[float, ...]  # a task's loss is divided by this: what a guesser without knowledge would score
    weights: tuple[float, ...]  # relative importance; 1 is the rule

    def __post_init__(self) -> None:
        if len(self.scales) != len(self.weights):
            raise ConfigError(f"{len(self.weights)} task weights do not fit {len(self.scales)} tasks.")
        if not all(0 < value < math.inf for value in (*self.scales, *self.weights)):
            raise ConfigError(f"task weights {self.weights} and scales {self.scales} must be finite and above 0.")

    @property
    def num_tasks(self) -> int:
        """Tasks of the run, present in a batch or not."""
        return len(self.scales)

    def factors(self, weight_sums: Tensor) -> Tensor:
        """Return what one nat × weight of each task adds to the step's loss, for the denominators of the whole step.

        The loss is the weighted mean, over the tasks that are present, of (mean loss of the task / its scale). So a
        task with thirty targets an example does not drown one with a single target.
        Shapes: weight_sums (num_tasks,); returns (num_tasks,), 0 for a task that is not present.
        """
        is_present = weight_sums > 0
        weights = torch.tensor(self.weights, device=weight_sums.device) * is_present
        scales = torch.tensor(self.scales, device=weight_sums.device)
        return weights / weights.sum() / scales / weight_sums.masked_fill(~is_present, 1.0)


def task_scale(head: HeadSpec | None, *, num_choices: int) -> float:
    """Return the loss, in nats, of a guesser that finds every choice equally likely.

    `num_choices` counts what the language-model head chooses among (words or image codes), and for a span head the
    positions of an example; other heads choose among their own labels.
    """
    if head is not None and head.kind is not HeadKind.SPAN:
        num_choices = head.num_outputs
    return math.log(max(2, num_choices))


def balance_tasks(
    task_heads: Sequence[HeadSpec | None], *, num_choices: Sequence[int], weights: Sequence[float] | None = None
) -> TaskBalance:
    """Return the balance of a run's tasks; without weights every task counts the same.

    `num_choices` is read per task, as in `task_scale`.
    """
    scales = tuple(task_scale(head, num_choices=num) for head, num in zip(task_heads, num_choices, strict=True))
    return TaskBalance(scales=scales, weights=tuple(weights) if weights is not None else (1.0,) * len(scales))


def default_balance(model: Transformer, task_heads: Sequence[HeadSpec | None]) -> TaskBalance:
    """Return equal weights, with language-model tasks scaled by a choice among all words."""
    return balance_tasks(task_heads, num_choices=[model.config.text_vocab_size] * len(task_heads))
