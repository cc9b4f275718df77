"""The loss of a mixed batch: every position is scored by the layer that its task answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from banyan.core.types import HeadSpec
from banyan.data.batch import Batch
from banyan.model.masks import is_plain_causal
from banyan.model.transformer import Transformer
from banyan.train.layer_losses import group_losses, widened
from banyan.train.target_groups import positions_by_layer


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
    hidden_BTD = trunk_states(model, batch, placed=placed, embedding_noise=embedding_noise)
    return hidden_losses(
        model, batch, hidden_BTD, placed=placed, task_heads=task_heads, label_smoothing=label_smoothing
    )


def trunk_states(model: Transformer, batch: Batch, *, placed: Batch, embedding_noise: float = 0.0) -> Tensor:
    """Return the last hidden states of a batch, (B, T, D); `placed` is that batch where the model lies.

    Whether its rows are plainly causal is seen in the batch that is still on the CPU.
    """
    hidden_BTD: Tensor = model(
        placed.token_ids,
        position_ids_BT=placed.position_ids,
        segment_ids_BT=placed.segment_ids,
        attend_until_BT=placed.attend_until,
        grid_ids_BT=placed.grid_ids,
        noise_seeds_B=placed.noise_seeds,
        noise_strength=embedding_noise,
        is_causal=is_plain_causal(batch.segment_ids, batch.attend_until),
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
        losses_M = group_losses(model, hidden_MD, group, placed.targets.flatten()[positions], weights_M, smoothing_M)
        loss_sums = loss_sums.index_add(0, tasks_M, losses_M * weights_M)
    return TaskLosses(loss_sums=loss_sums, weight_sums=weight_sums)
