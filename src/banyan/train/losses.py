"""The loss of a mixed batch: every position is scored by the layer that its task answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.core.types import HeadSpec
from banyan.data.batch import Batch
from banyan.model.transformer import Transformer
from banyan.train.head_loss import head_cross_entropy
from banyan.train.span_loss import span_losses
from banyan.train.target_groups import TargetGroup, positions_by_layer


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskLosses:
    """Loss of each task in one batch, as sums, so that micro-batches add up.

    Shapes: both (num_tasks,). Units: nats × weight, and weight.
    """

    loss_sums: Tensor
    weight_sums: Tensor

    @property
    def means(self) -> Tensor:
        """Mean loss of each task in nats; NaN where the batch has no target of it."""
        return self.loss_sums / self.weight_sums


def joint_loss(
    model: Transformer,
    batch: Batch,
    *,
    task_heads: Sequence[HeadSpec | None],
    label_smoothing: Sequence[float] = (),
    embedding_noise: float = 0.0,
) -> TaskLosses:
    """Run the trunk once and score the positions that carry loss, each with its own layer.

    Language-model positions go to the word slice or, where the target is an image code, to the picture slice of the
    output layer; the others to their task's head. Positions are chosen while the batch is still on the CPU, so that
    no accelerator is waited for, and gathered before the heads, so that no logits are made for nothing. With
    `label_smoothing`, that part of what a task's targets say is spread over all choices; spans have none. With
    `embedding_noise`, embeddings are noisy while the model learns.
    Raises: DataError if a span example marks no start or no end.
    """
    placed = batch.to(model.device)
    hidden_BTD = trunk_states(model, placed, embedding_noise=embedding_noise)
    return hidden_losses(
        model, batch, hidden_BTD, placed=placed, task_heads=task_heads, label_smoothing=label_smoothing
    )


def trunk_states(model: Transformer, placed: Batch, *, embedding_noise: float = 0.0) -> Tensor:
    """Return the last hidden states of a batch that lies where the model does, shape (B, T, D)."""
    hidden_BTD: Tensor = model(
        placed.token_ids,
        position_ids_BT=placed.position_ids,
        segment_ids_BT=placed.segment_ids,
        attend_until_BT=placed.attend_until,
        grid_ids_BT=placed.grid_ids,
        noise_seeds_B=placed.noise_seeds,
        noise_strength=embedding_noise,
    )
    return hidden_BTD


def hidden_losses(
    model: Transformer,
    batch: Batch,
    hidden_BTD: Tensor,
    *,
    placed: Batch,
    task_heads: Sequence[HeadSpec | None],
    label_smoothing: Sequence[float] = (),
) -> TaskLosses:
    """Score the positions that carry loss, from their last hidden states; `placed` is the batch where the model lies.

    Raises: as `joint_loss`.
    """
    num_tasks, device = len(task_heads), model.device
    weight_sums = batch.weights_by_task(num_tasks).to(device)
    groups = positions_by_layer(batch, task_heads, first_image_id=model.config.text_vocab_size)
    hidden_ND = hidden_BTD.flatten(0, 1)
    loss_sums = torch.zeros(num_tasks, device=device, dtype=widened(hidden_ND[:0]).dtype)
    for group in groups:
        positions = group.positions.to(device, non_blocking=True)
        hidden_MD = group.states(hidden_ND)
        weights_M = placed.loss_weights.flatten()[positions]
        tasks_M = placed.task_ids.flatten()[positions]
        smoothing_M = torch.tensor(label_smoothing, device=device)[tasks_M] if any(label_smoothing) else None
        losses_M = _losses(model, hidden_MD, group, placed.targets.flatten()[positions], weights_M, smoothing_M)
        loss_sums = loss_sums.index_add(0, tasks_M, losses_M * weights_M)
    return TaskLosses(loss_sums=loss_sums, weight_sums=weight_sums)


def _losses(
    model: Transformer,
    hidden_MD: Tensor,
    group: TargetGroup,
    targets_M: Tensor,
    weights_M: Tensor,
    smoothing_M: Tensor | None,
) -> Tensor:
    """Return the loss at each position of a group, shape (M,), in nats."""
    if group.head is None:
        known_weights_M = weights_M if group.is_one_task else None  # tasks are weighed against each other later
        return _id_losses(model, hidden_MD, targets_M, known_weights_M, smoothing_M, is_image=group.is_image)
    logits_MC = widened(model.head_logits(group.head.name, hidden_MD))
    if group.segments is None:
        return _cross_entropy(logits_MC, targets_M, smoothing_M)
    return span_losses(logits_MC, targets_M, group.segments.to(logits_MC.device), num_segments=group.num_segments)


def _id_losses(
    model: Transformer,
    hidden_MD: Tensor,
    targets_M: Tensor,
    weights_M: Tensor | None,
    smoothing_M: Tensor | None,
    *,
    is_image: bool,
) -> Tensor:
    """Return the loss of words, or of image codes, at each position."""
    num_words = model.config.text_vocab_size
    targets_M = targets_M - num_words if is_image else targets_M
    weight_VD = model.output_weight()
    if type(weight_VD) is not nn.Parameter:  # its rows lie on several processes: the model knows how to use it
        logits_MV = model.image_logits(hidden_MD) if is_image else model.logits(hidden_MD)
        return _cross_entropy(widened(logits_MV), targets_M, smoothing_M)
    return head_cross_entropy(
        hidden_MD,
        _rows(weight_VD, num_words, None) if is_image else _rows(weight_VD, 0, num_words),
        targets_M,
        weights_M=weights_M,
        smoothing_M=smoothing_M,
        product=model.output_product,
        softcap=model.config.logit_softcap,
    )


def _cross_entropy(logits_MC: Tensor, targets_M: Tensor, smoothing_M: Tensor | None) -> Tensor:
    losses_M = F.cross_entropy(logits_MC, targets_M, reduction="none")
    if smoothing_M is None:
        return losses_M
    return torch.lerp(losses_M, logits_MC.logsumexp(dim=1) - logits_MC.mean(dim=1), smoothing_M.to(losses_M.dtype))


def _rows(weight_VD: Tensor, first: int, end: int | None) -> Tensor:
    """Return some rows; where they are all of them, without what costs a copy of the gradient."""
    return weight_VD if first == 0 and end == len(weight_VD) else weight_VD[first:end]


def widened(values: Tensor) -> Tensor:
    """Return at least float32; numbers that are wider stay so."""
    return values if values.dtype == torch.float64 else values.float()
