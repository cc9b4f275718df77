"""The loss of a mixed batch: every position is scored by the layer that its task answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.core.errors import DataError
from banyan.core.types import HeadKind, HeadSpec
from banyan.data.batch import Batch
from banyan.model.transformer import Transformer
from banyan.train.head_loss import head_cross_entropy

STARTS, ENDS = 1, 2  # bits of a span head's targets


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
) -> TaskLosses:
    """Run the trunk once and score the positions that carry loss, each with its own layer.

    Language-model positions go to the word slice or, where the target is an image code, to the picture slice of the
    output layer; the others to their task's head. Positions are chosen while the batch is still on the CPU, so that
    no accelerator is waited for, and gathered before the heads, so that no logits are made for nothing. With
    `label_smoothing`, that part of what a task's targets say is spread over all choices; spans have none.
    Raises: DataError if a span example marks no start or no end.
    """
    placed = batch.to(model.device)
    hidden_BTD = model(
        placed.token_ids,
        position_ids_BT=placed.position_ids,
        segment_ids_BT=placed.segment_ids,
        attend_until_BT=placed.attend_until,
        grid_ids_BT=placed.grid_ids,
        noise_seeds_B=placed.noise_seeds,
    )
    return hidden_losses(
        model, batch, hidden_BTD, placed=placed, task_heads=task_heads, label_smoothing=label_smoothing
    )


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
    groups = _positions_by_layer(batch, task_heads, first_image_id=model.config.text_vocab_size)
    hidden_ND = hidden_BTD.flatten(0, 1)
    loss_sums = torch.zeros(num_tasks, device=device, dtype=_widened(hidden_ND[:0]).dtype)
    for group in groups:
        positions = group.positions.to(device, non_blocking=True)
        hidden_MD = hidden_ND if len(positions) == len(hidden_ND) else hidden_ND[positions]
        weights_M = placed.loss_weights.flatten()[positions]
        tasks_M = placed.task_ids.flatten()[positions]
        smoothing_M = torch.tensor(label_smoothing, device=device)[tasks_M] if any(label_smoothing) else None
        losses_M = _losses(model, hidden_MD, group, placed.targets.flatten()[positions], weights_M, smoothing_M)
        loss_sums = loss_sums.index_add(0, tasks_M, losses_M * weights_M)
    return TaskLosses(loss_sums=loss_sums, weight_sums=weight_sums)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Positions that one layer scores."""

    positions: Tensor  # (M,) into the flattened batch
    head: HeadSpec | None = None  # None: the language-model head
    is_image: bool = False  # its picture slice instead of its word slice
    is_one_task: bool = False  # all positions belong to the same task
    segments: Tensor | None = None  # (M,) which example each position belongs to, counted from 0; spans only
    num_segments: int = 0


def _positions_by_layer(batch: Batch, task_heads: Sequence[HeadSpec | None], *, first_image_id: int) -> list[_Group]:
    """Sort the positions that carry loss by the layer that scores them."""
    task_ids, targets = batch.task_ids.flatten(), batch.targets.flatten()
    has_loss = batch.loss_weights.flatten() > 0
    has_head = torch.tensor([head is not None for head in task_heads])[task_ids]
    is_image = targets >= first_image_id
    groups = [
        _id_group(has_loss & ~has_head & is_chosen, task_ids, is_image=is_of_images)
        for is_of_images, is_chosen in ((False, ~is_image), (True, is_image))
    ]
    for task, head in enumerate(task_heads):
        if head is not None and head.kind is HeadKind.SPAN:
            groups.append(_span_group(batch, task, head, has_loss))
        elif head is not None:
            groups.append(_Group(positions=_where(has_loss & (task_ids == task)), head=head))
    return [group for group in groups if len(group.positions)]


def _id_group(is_chosen: Tensor, task_ids: Tensor, *, is_image: bool) -> _Group:
    positions = _where(is_chosen)
    is_one_task = len(torch.unique(task_ids[positions])) == 1
    return _Group(positions=positions, is_image=is_image, is_one_task=is_one_task)


def _where(is_chosen: Tensor) -> Tensor:
    return is_chosen.nonzero().squeeze(1)


def _span_group(batch: Batch, task: int, head: HeadSpec, has_loss: Tensor) -> _Group:
    """Take every position of the examples that carry loss, for a span is chosen among all of them."""
    seq_len = batch.token_ids.shape[1]
    examples_BT = batch.segment_ids + torch.arange(len(batch.token_ids))[:, None] * seq_len
    examples, is_own = examples_BT.flatten(), batch.task_ids.flatten() == task
    learned = torch.unique(examples[has_loss & is_own])  # sorted
    positions = _where(is_own & torch.isin(examples, learned))
    segments = torch.searchsorted(learned, examples[positions])
    marks_M2 = _marks(batch.targets.flatten()[positions])
    if (_sum_by(segments, marks_M2, len(learned)) == 0).any():
        raise DataError(f"head {head.name}: an example carries loss but marks no start or no end of its answer.")
    return _Group(positions=positions, head=head, segments=segments, num_segments=len(learned))


def _losses(
    model: Transformer,
    hidden_MD: Tensor,
    group: _Group,
    targets_M: Tensor,
    weights_M: Tensor,
    smoothing_M: Tensor | None,
) -> Tensor:
    """Return the loss at each position of a group, shape (M,), in nats."""
    if group.head is None:
        known_weights_M = weights_M if group.is_one_task else None  # tasks are weighed against each other later
        return _id_losses(model, hidden_MD, targets_M, known_weights_M, smoothing_M, is_image=group.is_image)
    logits_MC = _widened(model.head_logits(group.head.name, hidden_MD))
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
        return _cross_entropy(_widened(logits_MV), targets_M, smoothing_M)
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


def _widened(values: Tensor) -> Tensor:
    """Return at least float32; numbers that are wider stay so."""
    return values if values.dtype == torch.float64 else values.float()


def span_losses(logits_M2: Tensor, targets_M: Tensor, segments_M: Tensor, *, num_segments: int) -> Tensor:
    """Return, at each position that a start or an end is marked at, its cross-entropy among its example's positions.

    A position that marks both pays for both, so an answer of one token counts as much as a longer one.
    Shapes: logits (M, 2); targets and segments (M,), segments counted from 0; returns (M,), 0 where nothing is marked.
    Source: Devlin et al. 2019 (BERT), section 4.2.
    """
    highest_S2 = logits_M2.new_full((num_segments, 2), -torch.inf)  # taken off: exp() may overflow
    highest_S2 = highest_S2.scatter_reduce(0, segments_M[:, None].expand(-1, 2), logits_M2.detach(), "amax")
    sums_S2 = _sum_by(segments_M, (logits_M2 - highest_S2[segments_M]).exp(), num_segments)
    normalisers_M2 = (sums_S2.log() + highest_S2)[segments_M]
    return ((normalisers_M2 - logits_M2) * _marks(targets_M)).sum(dim=1)


def _marks(targets_M: Tensor) -> Tensor:
    """Return 1 where an answer starts (column 0) and where it ends (column 1)."""
    bits_M = targets_M.clamp(min=0)  # NO_TARGET marks nothing
    return torch.stack(((bits_M & STARTS) > 0, (bits_M & ENDS) > 0), dim=1).long()


def _sum_by(segments_M: Tensor, values_M2: Tensor, num: int) -> Tensor:
    return torch.zeros((num, 2), dtype=values_M2.dtype, device=values_M2.device).index_add(0, segments_M, values_M2)
