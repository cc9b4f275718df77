"""The loss of an answer that is a stretch of its context: where it starts, and where it ends."""

from __future__ import annotations

import torch
from torch import Tensor

from banyan.core.types import ENDS_HERE, STARTS_HERE


def span_losses(logits_M2: Tensor, targets_M: Tensor, segments_M: Tensor, *, num_segments: int) -> Tensor:
    """Return, at each position that a start or an end is marked at, its cross-entropy among its example's positions.

    A position that marks both pays for both, so an answer of one token counts as much as a longer one.
    Shapes: logits (M, 2); targets and segments (M,), segments counted from 0; returns (M,), 0 where nothing is marked.
    Source: Devlin et al. 2019 (BERT), section 4.2.
    """
    return -(segment_log_probs(logits_M2, segments_M, num_segments=num_segments) * answer_marks(targets_M)).sum(dim=1)


def segment_log_probs(logits_M2: Tensor, segments_M: Tensor, *, num_segments: int) -> Tensor:
    """Return the log-probability of every position among those of its example, as a start and as an end.

    Shapes: logits (M, 2); segments (M,), counted from 0; returns (M, 2).
    """
    highest_S2 = logits_M2.new_full((num_segments, 2), -torch.inf)  # taken off: exp() may overflow
    highest_S2 = highest_S2.scatter_reduce(0, segments_M[:, None].expand(-1, 2), logits_M2.detach(), "amax")
    sums_S2 = sum_by_segment(segments_M, (logits_M2 - highest_S2[segments_M]).exp(), num_segments)
    return logits_M2 - (sums_S2.log() + highest_S2)[segments_M]


def answer_marks(targets_M: Tensor) -> Tensor:
    """Return 1 where an answer starts (column 0) and where it ends (column 1)."""
    bits_M = targets_M.clamp(min=0)  # NO_TARGET marks nothing
    return torch.stack(((bits_M & STARTS_HERE) > 0, (bits_M & ENDS_HERE) > 0), dim=1).long()


def sum_by_segment(segments_M: Tensor, values_M2: Tensor, num: int) -> Tensor:
    """Shapes: segments (M,), values (M, 2); returns (num, 2)."""
    return torch.zeros((num, 2), dtype=values_M2.dtype, device=values_M2.device).index_add(0, segments_M, values_M2)
