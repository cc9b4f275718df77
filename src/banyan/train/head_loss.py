"""Output layer and cross-entropy in one, a block of positions at a time, so that no step ever holds all logits.

Written as two operations, a loss keeps logits, log-probabilities and their gradient, three matrices of positions ×
words: 600 MB at 1,024 positions of GPT-2. Here the logits of a block turn into their own gradient in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from banyan.model.linear import Product

BLOCK_LOGITS = 1 << 24  # in one block: 64 MiB, enough rows for fast products


def head_cross_entropy(
    hidden_MD: Tensor,
    weight_VD: Tensor,
    targets_M: Tensor,
    *,
    weights_M: Tensor | None = None,
    product: Product = F.linear,
    softcap: float = 0.0,
) -> Tensor:
    """Return the cross-entropy of softmax(hidden · weightᵀ) at each position, in nats. Logits are never kept.

    `weights` say how much each position will count, up to one factor for all. Then the gradient is worked out at once,
    while a block's logits are at hand; without them, the backward pass computes the logits anew, which costs a third of
    the head's time. Gradients and losses are the same. Logits are squeezed into ±softcap if one is given.
    Shapes: hidden (M, D); weight (V, D); targets, weights (M,); returns (M,), float32.
    """
    dtype = torch.get_autocast_dtype(hidden_MD.device.type)
    if not torch.is_autocast_enabled(hidden_MD.device.type):
        dtype = torch.promote_types(hidden_MD.dtype, weight_VD.dtype)
    arguments = (hidden_MD, weight_VD, targets_M, weights_M, dtype, product, softcap)
    return _HeadCrossEntropy.apply(*arguments)  # type: ignore[no-any-return, no-untyped-call]


class _HeadCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MD: Tensor,
        weight_VD: Tensor,
        targets_M: Tensor,
        weights_M: Tensor | None,
        dtype: torch.dtype,
        product: Product,
        softcap: float,
    ) -> Tensor:
        ctx.head = head = _Head(weight_VD, dtype=dtype, product=product, softcap=softcap)
        needs = ctx.needs_input_grad[:2]
        if weights_M is None or not any(needs):
            ctx.save_for_backward(hidden_MD, targets_M)
            ctx.gradients = None
            blocks = _blocks(len(hidden_MD), len(weight_VD))
            return torch.cat([head.score(hidden_MD[rows], targets_M[rows])[0] for rows in blocks])
        ctx.save_for_backward(weights_M)
        losses_M, ctx.gradients = _learn(head, hidden_MD, targets_M, weights_M, needs=needs)
        return losses_M

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            hidden_MD, targets_M = ctx.saved_tensors
            _, found = _learn(ctx.head, hidden_MD, targets_M, gradients[0], needs=ctx.needs_input_grad[:2])
        else:
            weights_M = ctx.saved_tensors[0].to(gradients[0].dtype)
            factor = gradients[0].sum() / weights_M.sum()
            if weights_M.device.type == "cpu":  # elsewhere one would have to wait for it
                is_announced = torch.allclose(gradients[0], factor * weights_M, rtol=1e-3, equal_nan=True)
                assert is_announced, "positions count as announced"
            found = [None if part is None else part.mul_(factor) for part in ctx.gradients]
            ctx.gradients = None
        return (*found, None, None, None, None, None)


def _learn(
    head: _Head, hidden_MD: Tensor, targets_M: Tensor, weights_M: Tensor, *, needs: Sequence[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the losses (M,), and the gradients of hidden states and weight of their weighted sum where needed."""
    needs_hidden, needs_weight = needs
    grad_hidden = torch.empty_like(hidden_MD) if needs_hidden else None
    grad_weight = None
    losses = []
    for rows in _blocks(len(hidden_MD), head.vocab_size):
        losses_M, errors_MV = head.score(hidden_MD[rows], targets_M[rows])
        losses.append(losses_M)
        weights_M1 = weights_M[rows, None]
        if grad_hidden is not None:
            grad_hidden[rows] = head.back(errors_MV) * weights_M1
        if needs_weight:
            part_VD = head.outer(errors_MV, hidden_MD[rows] * weights_M1)
            grad_weight = part_VD if grad_weight is None else grad_weight.add_(part_VD)
            del part_VD
        del errors_MV
    return torch.cat(losses), [grad_hidden, grad_weight]


class _Head:
    """The three products around the logits of one block."""

    def __init__(self, weight_VD: Tensor, *, dtype: torch.dtype, product: Product, softcap: float) -> None:
        self._weight_VD = weight_VD.to(dtype)
        self._dtype = dtype
        self._product = product
        self._softcap = softcap
        self.vocab_size = len(weight_VD)

    def score(self, hidden_MD: Tensor, targets_M: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses (M,) and their gradient by what the product gave, (M, V), both at least float32."""
        raw_MV = self._product(hidden_MD.to(self._dtype), self._weight_VD, None)
        raw_MV = raw_MV if raw_MV.dtype == torch.float64 else raw_MV.float()
        capped_MV = raw_MV.div_(self._softcap).tanh_().mul_(self._softcap) if self._softcap else raw_MV
        log_probs_MV = torch.log_softmax(capped_MV, dim=1)
        column_M1 = targets_M[:, None]
        losses_M = -log_probs_MV.gather(1, column_M1).squeeze(1)
        errors_MV = log_probs_MV.exp_()
        errors_MV.scatter_add_(1, column_M1, errors_MV.new_full((1, 1), -1.0).expand_as(column_M1))
        if self._softcap:
            errors_MV.mul_(capped_MV.div_(self._softcap).square_().neg_().add_(1.0))
        return losses_M, errors_MV

    def back(self, errors_MV: Tensor) -> Tensor:
        """Return the gradient of the hidden states, (M, D)."""
        return self._product(errors_MV.to(self._dtype), self._weight_VD.t(), None)

    def outer(self, errors_MV: Tensor, hidden_MD: Tensor) -> Tensor:
        """Return the gradient of the weight, (V, D)."""
        gradient_VD = self._product(errors_MV.to(self._dtype).t(), hidden_MD.to(self._dtype).t(), None)
        return gradient_VD.to(hidden_MD.dtype)


def _blocks(num_positions: int, vocab_size: int) -> Iterator[slice]:
    """Cut positions into blocks of equal size, give or take one row."""
    count = max(1, -(-num_positions * vocab_size // BLOCK_LOGITS))
    edges = [num_positions * block // count for block in range(count + 1)]
    return (slice(start, end) for start, end in zip(edges[:-1], edges[1:], strict=True))
