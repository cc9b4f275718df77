"""One training step, from a batch to better weights: the heart of Banyan, on one page.

Everything else in this package prepares this function's arguments or looks after its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from banyan.core.errors import DataError
from banyan.data.batch import TrainableBatch
from banyan.train.balance import TaskBalance
from banyan.train.losses import TaskLosses
from banyan.train.ranks import ALONE, Ranks

LossFunction = Callable[[Any, Any], TaskLosses]  # (model, micro-batch) → the losses of its tasks, as sums


class StepOptimizer(Protocol):
    """What a step needs of an optimizer."""

    def zero_grad(self) -> None:
        """Forget the gradients of the step before."""

    def step(self) -> None:
        """Move the weights against their gradients."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What to do with a step whose gradient is known and whose update is not yet made."""

    update_scale: float = 1.0  # 0: leave weights and optimizer as they are; below 1: shorten the gradient
    signal: str | None = None  # why, if not 1


Judge = Callable[[float, Sequence[float], float], Verdict]  # (loss, loss of each task, gradient norm) → verdict


def apply_if_finite(loss: float, task_losses: Sequence[float], grad_norm: float) -> Verdict:
    """Apply every update whose loss and gradient are numbers."""
    is_finite = math.isfinite(loss) and math.isfinite(grad_norm)
    return Verdict() if is_finite else Verdict(update_scale=0.0, signal="not_finite")


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What one step did."""

    loss: float  # balanced over the tasks: near 1 for a model that knows nothing
    task_losses: tuple[float, ...]  # mean loss of each task in nats; NaN for a task without targets in this step
    grad_norm: float  # of all gradients together, before clipping
    num_targets: int
    num_tokens: int
    verdict: Verdict

    @property
    def is_applied(self) -> bool:
        """False: the update was skipped, and the weights are as they were."""
        return self.verdict.update_scale > 0


def train_step(
    model: nn.Module,
    batch: TrainableBatch,
    *,
    optimizer: StepOptimizer,
    loss_function: LossFunction,
    balance: TaskBalance,
    emphasis: Sequence[float] | None = None,
    accumulation_steps: int = 1,
    clip_norm: float | None = 1.0,
    ranks: Ranks = ALONE,
    judge: Judge = apply_if_finite,
) -> StepResult:
    """Make one update of the weights from one batch, which all ranks share.

    The loss is  Σ_task weight · (Σ loss / Σ loss weight) / scale,  where the weights of the present tasks add up to 1.
    Both inner sums run over the whole batch, so the update does not depend on how many micro-batches it is cut into.
    An `emphasis` multiplies each task's part of the gradient; the loss that is returned stays the one above.
    Raises: DataError if no position of the batch carries loss.
    """
    require_targets(batch)

    # 1. What one unit of each task's loss is worth: known before the first micro-batch, from the batch alone.
    weight_sums = batch.weights_by_task(balance.num_tasks)
    factors = balance.factors(weight_sums)
    slopes = emphasised(factors, emphasis)

    # 2. Forward and backward, one micro-batch at a time; the gradients add up.
    optimizer.zero_grad()
    loss_sums = torch.zeros_like(weight_sums)
    for micro_batch in batch.split(accumulation_steps):
        if micro_batch.num_targets == 0:
            continue
        losses = ranks.own_losses(loss_function, model, micro_batch)
        loss = (losses.loss_sums * slopes.to(losses.loss_sums.device)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        loss_sums = loss_sums.to(losses.loss_sums.device) + losses.loss_sums.detach()

    # 3. Clip, then look at the numbers: the only moment at which we wait for the device, and for the other ranks.
    gradients, norm = ranks.collect_gradients(model)
    if clip_norm is not None:
        torch._foreach_mul_(gradients, torch.clamp(clip_norm / (norm + 1e-6), max=1.0))
    *sums, grad_norm = torch.cat((ranks.sum(loss_sums), norm.reshape(1))).tolist()
    loss_value, task_losses = loss_values(sums, factors=factors, weight_sums=weight_sums)

    # 4. Update, unless the numbers say no: then this batch is skipped and the weights stay as they are.
    verdict = judge(loss_value, task_losses, grad_norm)
    if 0 < verdict.update_scale < 1:
        torch._foreach_mul_(gradients, verdict.update_scale)
    if verdict.update_scale > 0:
        optimizer.step()

    return StepResult(
        loss=loss_value,
        task_losses=task_losses,
        grad_norm=grad_norm,
        num_targets=batch.num_targets,
        num_tokens=batch.num_tokens,
        verdict=verdict,
    )


def require_targets(batch: TrainableBatch) -> None:
    """Raises: DataError if no position of the batch carries loss."""
    if batch.num_targets == 0:
        raise DataError(
            "a batch has no position that carries loss: every target in it is masked.",
            hint="look at the examples of your tasks: are the answers empty, or cut off by max_source_tokens?",
        )


def emphasised(factors: Tensor, emphasis: Sequence[float] | None) -> Tensor:
    """Return what one nat × weight of each task adds to what is differentiated; shape (num_tasks,)."""
    return factors if emphasis is None else factors * torch.tensor(emphasis, device=factors.device)


def loss_values(sums: Sequence[float], *, factors: Tensor, weight_sums: Tensor) -> tuple[float, tuple[float, ...]]:
    """Return the balanced loss of a step, and the mean loss of each task; NaN for a task without targets."""
    loss = sum(total * factor for total, factor in zip(sums, factors.tolist(), strict=True))
    return loss, tuple(s / w if w else math.nan for s, w in zip(sums, weight_sums.tolist(), strict=True))
