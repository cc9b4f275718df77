"""The step of `db_mtl`: a backward pass for each group of tasks, whose gradients are brought to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from banyan.data.batch import TrainableBatch, rows_of_tasks
from banyan.train.balance import TaskBalance
from banyan.train.balance_methods import SMALLEST_LOSS, running_mean
from banyan.train.step import (
    Judge,
    LossFunction,
    StepOptimizer,
    StepResult,
    apply_if_finite,
    loss_values,
    require_targets,
)

_EPSILON = 1e-8  # of the published code


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupGradient:
    """What one group of tasks wants of the weights."""

    gradients: dict[nn.Parameter, Tensor]  # of the logarithm of its loss
    norm: float  # of all of them together
    weight: float  # mean weight of its tasks
    loss_sums: Tensor  # (num_tasks,); nats × weight


def grouped_step(
    model: nn.Module,
    batch: TrainableBatch,
    *,
    groups: Sequence[Sequence[int]],
    norms: Sequence[float | None],
    smoothing: float,
    optimizer: StepOptimizer,
    loss_function: LossFunction,
    balance: TaskBalance,
    accumulation_steps: int = 1,
    clip_norm: float | None = 1.0,
    judge: Judge = apply_if_finite,
) -> tuple[StepResult, list[float | None]]:
    """Make one update of the weights from one batch; return what it did, and the running mean of each group's norm.

    The gradient is the weighted mean, over the groups that are present, of that of  log(loss of the group),  each
    stretched to the longest of them by the running means of their lengths. A row belongs to one task, so the passes of
    all groups together compute the batch once.
    Raises: DataError if no position of the batch carries loss.
    Source: Lin et al. 2023 (DB-MTL). Deviation: the lengths are averaged over the steps, not the gradients themselves.
    """
    require_targets(batch)
    weight_sums = batch.weights_by_task(balance.num_tasks)
    found = [
        _group_gradient(model, batch, _only(weight_sums, group), optimizer, loss_function, balance, accumulation_steps)
        for group in groups
    ]
    means = [
        mean if group is None else running_mean(mean, group.norm, smoothing=smoothing)
        for mean, group in zip(norms, found, strict=True)
    ]
    loss_sums = torch.stack([group.loss_sums for group in found if group is not None]).sum(dim=0)
    loss, task_losses = loss_values(loss_sums.tolist(), factors=balance.factors(weight_sums), weight_sums=weight_sums)

    optimizer.zero_grad()
    gradients = _give_combined(found, means)
    norm = nn.utils.get_total_norm(gradients)
    if clip_norm is not None:
        torch._foreach_mul_(gradients, torch.clamp(clip_norm / (norm + 1e-6), max=1.0))
    verdict = judge(loss, task_losses, norm.item())
    if 0 < verdict.update_scale < 1:
        torch._foreach_mul_(gradients, verdict.update_scale)
    if verdict.update_scale > 0:
        optimizer.step()
    result = StepResult(
        loss=loss,
        task_losses=task_losses,
        grad_norm=norm.item(),
        num_targets=batch.num_targets,
        num_tokens=batch.num_tokens,
        verdict=verdict,
    )
    return result, means if result.is_applied else list(norms)


def _only(weight_sums: Tensor, group: Sequence[int]) -> Tensor:
    """Return the sums of a group's tasks, and 0 for the others."""
    is_own = torch.zeros(len(weight_sums), dtype=torch.bool)
    is_own[list(group)] = True
    return weight_sums * is_own


def _group_gradient(
    model: nn.Module,
    batch: TrainableBatch,
    weight_sums: Tensor,
    optimizer: StepOptimizer,
    loss_function: LossFunction,
    balance: TaskBalance,
    accumulation_steps: int,
) -> GroupGradient | None:
    """Return the gradient of the logarithm of a group's loss; None where the batch has no target of it."""
    tasks = weight_sums.nonzero().flatten().tolist()
    if not tasks:
        return None
    optimizer.zero_grad()
    factors = balance.factors(weight_sums)
    loss_sums = torch.zeros_like(weight_sums)
    for micro_batch in rows_of_tasks(batch, tasks).split(accumulation_steps):
        if micro_batch.num_targets:
            sums = loss_function(model, micro_batch).loss_sums
            (sums * factors.to(sums.device)).sum().backward()  # type: ignore[no-untyped-call]
            loss_sums += sums.detach().to(loss_sums.device) * (weight_sums > 0)
    loss, _ = loss_values(loss_sums.tolist(), factors=factors, weight_sums=weight_sums)
    gradients = {p: p.grad / max(SMALLEST_LOSS, loss) for p in model.parameters() if p.grad is not None}
    return GroupGradient(
        gradients=gradients,
        norm=nn.utils.get_total_norm(gradients.values()).item(),
        weight=sum(balance.weights[task] for task in tasks) / len(tasks),
        loss_sums=loss_sums,
    )


def _give_combined(found: Sequence[GroupGradient | None], norms: Sequence[float | None]) -> list[Tensor]:
    """Give the weights the mean of the groups' gradients, each as long as the longest; return what they were given."""
    present = [(group, norm or 0.0) for group, norm in zip(found, norms, strict=True) if group is not None]
    longest, total = max(norm for _, norm in present), sum(group.weight for group, _ in present)
    combined: dict[nn.Parameter, Tensor] = {}
    for group, norm in present:
        stretch = group.weight / total * longest / (norm + _EPSILON)
        for parameter, gradient in group.gradients.items():
            scaled = gradient.mul_(stretch)
            combined[parameter] = combined[parameter].add_(scaled) if parameter in combined else scaled
    for parameter, gradient in combined.items():
        parameter.grad = gradient
    return list(combined.values())
