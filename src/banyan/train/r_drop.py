"""R-Drop: every row is computed twice under other dropout masks, and the two answers are pulled together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from banyan.core.types import HeadSpec
from banyan.data.batch import Batch
from banyan.model.transformer import Transformer
from banyan.train.head_loss import BLOCK_LOGITS
from banyan.train.layer_losses import widened
from banyan.train.losses import TaskLosses, hidden_losses, trunk_states
from banyan.train.span_loss import segment_log_probs
from banyan.train.target_groups import TargetGroup, positions_by_layer


def r_drop_loss(
    model: Transformer,
    batch: Batch,
    *,
    task_heads: Sequence[HeadSpec | None],
    strength: float,
    label_smoothing: Sequence[float] = (),
    embedding_noise: float = 0.0,
) -> TaskLosses:
    """Score two passes over a batch, and how far apart their answers lie at every position that carries loss.

    The loss is the mean of the two passes' own losses, plus strength × (KL(p‖q) + KL(q‖p)) / 2. A span's distributions
    are those of its start and its end over all positions of its example.
    Raises: DataError if a span example marks no start or no end.
    Source: Wu et al. 2021 (R-Drop), eq. 4. Deviation: the two losses are averaged, not added, so that a loss stays as
    large as without; the paper's alpha is twice this strength.
    """
    twice = _twice(batch)
    placed = twice.to(model.device)
    hidden_BTD = trunk_states(model, twice, placed=placed, embedding_noise=embedding_noise)
    both = hidden_losses(
        model, twice, hidden_BTD, placed=placed, task_heads=task_heads, label_smoothing=label_smoothing
    )
    apart = _apart_by_task(model, batch, hidden_BTD, task_heads=task_heads)
    return TaskLosses(loss_sums=both.loss_sums / 2 + strength * apart, weight_sums=both.weight_sums / 2)


def symmetric_divergence(first_MC: Tensor, second_MC: Tensor) -> Tensor:
    """Return (KL(p‖q) + KL(q‖p)) / 2 of distributions that are given as log-probabilities.

    Shapes: both (..., C); returns (...), in nats.
    """
    return ((first_MC.exp() - second_MC.exp()) * (first_MC - second_MC)).sum(dim=-1) / 2


def _twice(batch: Batch) -> Batch:
    """Return all rows, and all of them once more with noise of their own."""
    doubled = {field.name: torch.cat((getattr(batch, field.name),) * 2) for field in fields(batch)}
    return replace(batch, **{**doubled, "noise_seeds": torch.cat((batch.noise_seeds, batch.noise_seeds + 1))})


def _apart_by_task(
    model: Transformer, batch: Batch, hidden_BTD: Tensor, *, task_heads: Sequence[HeadSpec | None]
) -> Tensor:
    """Return the weighted sum of the divergences of each task, shape (num_tasks,)."""
    device = model.device
    first_ND, second_ND = (half.flatten(0, 1) for half in hidden_BTD.chunk(2))
    sums = torch.zeros(len(task_heads), device=device, dtype=widened(hidden_BTD[:0]).dtype)
    for group in positions_by_layer(batch, task_heads, first_image_id=model.config.text_vocab_size):
        apart_M = _divergences(model, group, group.states(first_ND), group.states(second_ND))
        if group.segments is None:  # all positions of a span's example count, the marked ones have the weights
            apart_M = apart_M * batch.loss_weights.flatten()[group.positions].to(device)
        sums = sums.index_add(0, batch.task_ids.flatten()[group.positions].to(device), apart_M.to(sums.dtype))
    return sums


def _divergences(model: Transformer, group: TargetGroup, first_MD: Tensor, second_MD: Tensor) -> Tensor:
    if group.head is None:
        return _of_ids(model.image_logits if group.is_image else model.logits, first_MD, second_MD, model=model)
    name, tokens = group.head.name, group.tokens
    logits = [widened(model.head_logits(name, hidden_MD, tokens=tokens)) for hidden_MD in (first_MD, second_MD)]
    if group.segments is None:
        first_MC, second_MC = (logits_MC.log_softmax(dim=-1) for logits_MC in logits)
        return symmetric_divergence(first_MC, second_MC)
    segments = group.segments.to(first_MD.device)
    first_M2, second_M2 = (segment_log_probs(found, segments, num_segments=group.num_segments) for found in logits)
    return symmetric_divergence(first_M2, second_M2)  # start and end of one position, added up


def _of_ids(
    logits_of: Callable[[Tensor], Tensor], first_MD: Tensor, second_MD: Tensor, *, model: Transformer
) -> Tensor:
    """Return the divergences over all words, a block of positions at a time; the backward pass makes logits anew."""

    def of_block(first: Tensor, second: Tensor) -> Tensor:
        logits = (widened(logits_of(hidden)).log_softmax(dim=-1) for hidden in (first, second))
        return symmetric_divergence(*logits)

    size = max(1, BLOCK_LOGITS // model.config.vocab_size)
    pairs = zip(torch.split(first_MD, size), torch.split(second_MD, size), strict=True)
    return torch.cat([checkpoint(of_block, *pair, use_reentrant=False) for pair in pairs])
