"""Output layer and cross-entropy in one, a block of positions at a time, so that no step holds all logits twice.

Written as two operations, a loss keeps logits, log-probabilities and their gradient: three matrices of positions × words
and 600 MB at 1,024 positions of GPT-2's vocabulary. Here a block's logits turn into their own gradient in place.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    product: Product = F.linear,
    softcap: float = 0.0,
    is_lean: bool = False,
) -> Tensor:
    """Return the cross-entropy of softmax(hidden · weightᵀ) at each position, in nats.

    With `is_lean` no logits are kept for the backward pass: they are computed anew, block by block, which costs a third
    of the head's time. Gradients and losses are the same. Logits are squeezed into ±softcap if one is given.
    Shapes: hidden (M, D); weight (V, D); targets (M,); returns (M,), float32.
    """
    dtype = torch.get_autocast_dtype(hidden_MD.device.type)
    if not torch.is_autocast_enabled(hidden_MD.device.type):
        dtype = torch.promote_types(hidden_MD.dtype, weight_VD.dtype)
    arguments = (hidden_MD, weight_VD, targets_M, dtype, product, softcap, is_lean)
    return _HeadCrossEntropy.apply(*arguments)  # type: ignore[no-any-return, no-untyped-call]


class _HeadCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MD: Tensor,
        weight_VD: Tensor,
        targets_M: Tensor,
        dtype: torch.dtype,
        product: Product,
        softcap: float,
        is_lean: bool,
    ) -> Tensor:
        ctx.save_for_backward(hidden_MD, weight_VD, targets_M)
        ctx.head = _Head(weight_VD, dtype=dtype, product=product, softcap=softcap)
        ctx.errors = []  # of each block: what the gradient of its losses by its logits is
        is_kept = not is_lean and any(ctx.needs_input_grad[:2])
        losses = []
        for rows in _blocks(len(hidden_MD), len(weight_VD)):
            losses_M, errors_MV = ctx.head.score(hidden_MD[rows], targets_M[rows])
            losses.append(losses_M)
            ctx.errors.append(errors_MV if is_kept else None)
            del errors_MV
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden_MD, weight_VD, targets_M = ctx.saved_tensors
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden_MD) if needs_hidden else None
        grad_weight: Tensor | None = None
        for number, rows in enumerate(_blocks(len(hidden_MD), len(weight_VD))):
            kept, ctx.errors[number] = ctx.errors[number], None
            errors_MV = ctx.head.score(hidden_MD[rows], targets_M[rows])[1] if kept is None else kept
            scale_M1 = gradients[0][rows, None]
            if grad_hidden is not None:
                grad_hidden[rows] = ctx.head.back(errors_MV) * scale_M1
            if needs_weight:
                part_VD = ctx.head.outer(errors_MV, hidden_MD[rows] * scale_M1)
                grad_weight = part_VD if grad_weight is None else grad_weight.add_(part_VD)
                del part_VD
            del kept, errors_MV
        return grad_hidden, grad_weight, None, None, None, None, None


class _Head:
    """The three products around the logits of one block."""

    def __init__(self, weight_VD: Tensor, *, dtype: torch.dtype, product: Product, softcap: float) -> None:
        self._weight_VD = weight_VD.to(dtype)
        self._dtype = dtype
        self._product = product
        self._softcap = softcap

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
