"""The loss of positions that one layer scores: words, image codes, labels, tags, or the ends of spans."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.transformer import Transformer
from banyan.train.head_loss import head_cross_entropy
from banyan.train.span_loss import span_losses
from banyan.train.target_groups import TargetGroup


def group_losses(
    model: Transformer,
    hidden_MD: Tensor,
    group: TargetGroup,
    targets_M: Tensor,
    weights_M: Tensor,
    smoothing_M: Tensor | None,
) -> Tensor:
    """Return the loss at each position of a group, in nats; `weights` say how much each will count.

    Shapes: hidden (M, D); targets, weights, smoothing (M,); returns (M,).
    """
    if group.head is None:
        known_weights_M = weights_M if group.is_one_task else None  # tasks are weighed against each other later
        return _id_losses(model, hidden_MD, targets_M, known_weights_M, smoothing_M, is_image=group.is_image)
    logits_MC, *others = map(widened, model.heads.opinions(group.head.name, hidden_MD, tokens=group.tokens))

    def loss_of(scores_MC: Tensor) -> Tensor:
        if group.segments is None:
            return _cross_entropy(scores_MC, targets_M, smoothing_M)
        return span_losses(scores_MC, targets_M, group.segments.to(scores_MC.device), num_segments=group.num_segments)

    losses_M = loss_of(logits_MC)
    for other_MC in others:  # learns, and does not count: losses of heads with and without a table can be compared
        other_M = loss_of(other_MC)
        losses_M = losses_M + (other_M - other_M.detach())
    return losses_M


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
