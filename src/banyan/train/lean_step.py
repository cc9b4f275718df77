"""The training step with little memory: weights move during the backward pass, so the judge decides before it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from banyan.data.batch import TrainableBatch
from banyan.train.backward_update import BackwardUpdate
from banyan.train.balance import TaskBalance
from banyan.train.step import (
    Judge,
    LossFunction,
    StepOptimizer,
    StepResult,
    apply_if_finite,
    emphasised,
    loss_values,
    require_targets,
)


def lean_step(
    model: nn.Module,
    batch: TrainableBatch,
    *,
    update: BackwardUpdate,
    optimizer: StepOptimizer,
    loss_function: LossFunction,
    balance: TaskBalance,
    emphasis: Sequence[float] | None = None,
    judge: Judge = apply_if_finite,
) -> StepResult:
    """Make one update of the weights from one batch, taken at once.

    The judge knows the loss of this step and the length of the gradient of the one before. It is asked once more where
    a gradient turns out not to be a number: the weight that it belongs to has not moved then, others may have.
    Raises: DataError if no position of the batch carries loss.
    """
    require_targets(batch)
    weight_sums = batch.weights_by_task(balance.num_tasks)
    factors = balance.factors(weight_sums)
    slopes = emphasised(factors, emphasis)
    optimizer.zero_grad()
    with update.collecting():
        loss_sums = loss_function(model, batch).loss_sums
    loss, task_losses = loss_values(loss_sums.tolist(), factors=factors, weight_sums=weight_sums)

    grad_norm = update.earlier_norm
    verdict = judge(loss, task_losses, grad_norm)
    if verdict.update_scale > 0:
        with update.moving(scale=verdict.update_scale):
            (loss_sums * slopes.to(loss_sums.device)).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()  # what is left to do once all weights have moved
        grad_norm = update.norm
        if not math.isfinite(grad_norm):
            verdict = judge(loss, task_losses, grad_norm)

    return StepResult(
        loss=loss,
        task_losses=task_losses,
        grad_norm=grad_norm,
        num_targets=batch.num_targets,
        num_tokens=batch.num_tokens,
        verdict=verdict,
    )
