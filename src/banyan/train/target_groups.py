"""Which positions of a mixed batch are scored together, because one layer answers them, and what it reads there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from banyan.core.errors import DataError
from banyan.core.types import IN_CONTEXT, HeadKind, HeadSpec
from banyan.data.batch import Batch
from banyan.model.ngrams import ReadTokens
from banyan.train.span_loss import answer_marks, sum_by_segment


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetGroup:
    """Positions that one layer scores."""

    positions: Tensor  # (M,) into the flattened batch
    head: HeadSpec | None = None  # None: the language-model head
    is_image: bool = False  # its picture slice instead of its word slice
    is_one_task: bool = False  # all positions belong to the same task
    segments: Tensor | None = None  # (M,) which example each position belongs to, counted from 0; spans only
    num_segments: int = 0
    averaged: WholeExamples | None = None  # what is read in place of the positions; heads that read means only
    tokens: ReadTokens | None = None  # of the examples; heads with a table of n-grams, or that look for matches, only

    def states(self, hidden_ND: Tensor) -> Tensor:
        """Return what the layer reads at each position, (M, D), from the hidden states of the flattened batch."""
        if self.averaged is not None:
            return self.averaged.means(hidden_ND)
        if len(self.positions) == len(hidden_ND):
            return hidden_ND
        return hidden_ND[self.positions.to(hidden_ND.device, non_blocking=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeExamples:
    """Positions of whole examples, and which example each belongs to."""

    positions: Tensor  # (P,) into the flattened batch
    examples: Tensor  # (P,) counted from 0
    num_examples: int

    def means(self, hidden_ND: Tensor) -> Tensor:
        """Return the mean hidden state of each example, (num_examples, D)."""
        device = hidden_ND.device
        positions, examples = self.positions.to(device, non_blocking=True), self.examples.to(device, non_blocking=True)
        dtype = torch.promote_types(hidden_ND.dtype, torch.float32)  # bfloat16 counts no further than 256
        sums_MD = torch.zeros(self.num_examples, hidden_ND.shape[-1], device=device, dtype=dtype)
        sums_MD = sums_MD.index_add(0, examples, hidden_ND[positions].to(dtype))
        means_MD = sums_MD / torch.bincount(examples, minlength=self.num_examples)[:, None]
        return means_MD.to(hidden_ND.dtype)


def positions_by_layer(
    batch: Batch, task_heads: Sequence[HeadSpec | None], *, first_image_id: int
) -> list[TargetGroup]:
    """Sort the positions that carry loss by the layer that scores them.

    Raises: DataError if a span example marks no start or no end, or one whose mean is read has several targets.
    """
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
        elif head is not None and head.pooling == "mean":
            groups.append(_averaged_group(batch, task, head, has_loss))
        elif head is not None:
            groups.append(TargetGroup(positions=_where(has_loss & (task_ids == task)), head=head))
    return [group for group in groups if len(group.positions)]


def _id_group(is_chosen: Tensor, task_ids: Tensor, *, is_image: bool) -> TargetGroup:
    positions = _where(is_chosen)
    is_one_task = len(torch.unique(task_ids[positions])) == 1
    return TargetGroup(positions=positions, is_image=is_image, is_one_task=is_one_task)


def _where(is_chosen: Tensor) -> Tensor:
    return is_chosen.nonzero().squeeze(1)


def _span_group(batch: Batch, task: int, head: HeadSpec, has_loss: Tensor) -> TargetGroup:
    """Take every position of the examples that carry loss, for a span is chosen among all of them."""
    whole = _whole_examples(batch, task, has_loss)
    marks_M2 = answer_marks(batch.targets.flatten()[whole.positions])
    if (sum_by_segment(whole.examples, marks_M2, whole.num_examples) == 0).any():
        raise DataError(f"head {head.name}: an example carries loss but marks no start or no end of its answer.")
    tokens = _matched_tokens(batch, whole) if head.reads_matches else None
    return TargetGroup(
        positions=whole.positions, head=head, segments=whole.examples, num_segments=whole.num_examples, tokens=tokens
    )


def _matched_tokens(batch: Batch, whole: WholeExamples) -> ReadTokens:
    targets_P = batch.targets.flatten()[whole.positions]
    return ReadTokens(
        token_ids=batch.token_ids.flatten()[whole.positions],
        examples=whole.examples,
        num_examples=whole.num_examples,
        is_context=(targets_P.clamp(min=0) & IN_CONTEXT) > 0,  # NO_TARGET marks nothing
    )


def _averaged_group(batch: Batch, task: int, head: HeadSpec, has_loss: Tensor) -> TargetGroup:
    """Take the position that carries an example's loss, and all of its positions to be read there."""
    positions = _where(has_loss & (batch.task_ids.flatten() == task))
    whole = _whole_examples(batch, task, has_loss)
    if whole.num_examples != len(positions):
        raise DataError(f"head {head.name} reads the mean of an example, which then has one target, not several.")
    return TargetGroup(positions=positions, head=head, averaged=whole, tokens=_tokens(batch, whole, head))


def _tokens(batch: Batch, whole: WholeExamples, head: HeadSpec) -> ReadTokens | None:
    if not head.ngram_buckets:
        return None
    ids = batch.token_ids.flatten()[whole.positions]
    return ReadTokens(token_ids=ids, examples=whole.examples, num_examples=whole.num_examples)


def _whole_examples(batch: Batch, task: int, has_loss: Tensor) -> WholeExamples:
    """Return every position of a task's examples that carry loss, in order."""
    seq_len = batch.token_ids.shape[1]
    examples_BT = batch.segment_ids + torch.arange(len(batch.token_ids))[:, None] * seq_len
    examples, is_own = examples_BT.flatten(), batch.task_ids.flatten() == task
    learned = torch.unique(examples[has_loss & is_own])  # sorted
    positions = _where(is_own & torch.isin(examples, learned))
    numbers = torch.searchsorted(learned, examples[positions])
    return WholeExamples(positions=positions, examples=numbers, num_examples=len(learned))
