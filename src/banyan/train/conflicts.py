"""Do the tasks pull the weights in different directions? Cosines between their gradients, now and then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from banyan.data.batch import TrainableBatch, rows_of_tasks
from banyan.model.transformer import Transformer
from banyan.train.balance_methods import running_mean
from banyan.train.step import LossFunction

Cosines: TypeAlias = list[list[float | None]]  # by task and task; None: not yet seen together

CONFLICT_BELOW = -0.1  # a cosine of two tasks that hinder each other
_SMOOTHING = 0.9  # weight of the past in the running mean of a pair


class ConflictMonitor:
    """Compares the gradients of the tasks on the last block of a model, with the rows of a step that has been made.

    A look at a batch is one forward and one backward pass for each task over that task's rows alone, at most as many
    as a micro-batch has; the backward pass ends at the last block. So a look costs less than the step itself.
    """

    def __init__(self, model: nn.Module, *, loss_function: LossFunction, num_tasks: int, every: int | None) -> None:
        self._model = model
        self._loss_function = loss_function
        self._num_tasks = num_tasks
        self._every = every
        self._parameters = _last_block(model)

    def is_due(self, step: int) -> bool:
        """Whether a step is to be looked at; never where there is nothing to compare."""
        has_pairs = self._num_tasks > 1 and bool(self._parameters)
        return has_pairs and self._every is not None and step % self._every == 0

    def measured(self, batch: TrainableBatch, before: Cosines, *, num_parts: int) -> Cosines:
        """Return the running means of all pairs with one look more; `num_parts` micro-batches make up the batch."""
        gradients = self._gradients(batch, num_parts=num_parts)
        before = before or [[None] * self._num_tasks for _ in range(self._num_tasks)]
        return [
            [
                running_mean(mean, _cosine(gradients[a], gradients[b]) if a != b else math.nan, smoothing=_SMOOTHING)
                for b, mean in enumerate(means)
            ]
            for a, means in enumerate(before)
        ]

    def _gradients(self, batch: TrainableBatch, *, num_parts: int) -> list[Tensor | None]:
        """Return each task's gradient as one row of numbers; None for a task without a target in the batch."""
        is_present = (batch.weights_by_task(self._num_tasks) > 0).tolist()
        return [self._gradient(batch, task, num_parts) if is_present[task] else None for task in range(self._num_tasks)]

    def _gradient(self, batch: TrainableBatch, task: int, num_parts: int) -> Tensor | None:
        part = rows_of_tasks(batch, [task]).split(num_parts)[0]
        if not part.weights_by_task(self._num_tasks)[task] > 0:
            return None
        loss = self._loss_function(self._model, part).loss_sums[task]
        found = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
        return torch.cat([gradient.flatten().float() for gradient in found])


def _last_block(model: nn.Module) -> Sequence[nn.Parameter]:
    if not isinstance(model, Transformer):
        return ()
    return [parameter for parameter in model.blocks[-1].parameters() if parameter.requires_grad]


def _cosine(first: Tensor | None, second: Tensor | None) -> float:
    """Return NaN where there is nothing to compare."""
    if first is None or second is None:
        return math.nan
    lengths = float(first.norm() * second.norm())
    return float(first @ second) / lengths if 0 < lengths < math.inf else math.nan
