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

BLOCK_LOGITS = 1 << 23  # in one block: 32 MiB, enough rows for fast products (half of it: 14 % slower at GPT-2's words)
BLOCK_GRADIENTS = 1 << 21  # of the weight, made in one product before they are added to the others: 8 MiB


def head_cross_entropy(
    hidden_MD: Tensor,
    weight_VD: Tensor,
    targets_M: Tensor,
    *,
    weights_M: Tensor | None = None,
    smoothing_M: Tensor | None = None,
    product: Product = F.linear,
    softcap: float = 0.0,
) -> Tensor:
    """Return the cross-entropy of softmax(hidden · weightᵀ) at each position, in nats. Logits are never kept.

    `weights` say how much each position will count, up to one factor for all. Then the gradient is worked out at once,
    while a block's logits are at hand; without them, the backward pass computes the logits anew, which costs a third of
    the head's time. Gradients and losses are the same. Logits are squeezed into ±softcap if one is given.
    Of each position, the part `smoothing` of what it should say is spread evenly over all words.
    Shapes: hidden (M, D); weight (V, D); targets, weights, smoothing (M,); returns (M,), float32.
    Source of the smoothing: Szegedy et al. 2016, section 7.
    """
    dtype = torch.get_autocast_dtype(hidden_MD.device.type)
    if not torch.is_autocast_enabled(hidden_MD.device.type):
        dtype = torch.promote_types(hidden_MD.dtype, weight_VD.dtype)
    if not torch.is_grad_enabled():  # nobody will ask for the gradient; inside, that is not to be seen
        weights_M = None
    arguments = (hidden_MD, weight_VD, targets_M, weights_M, smoothing_M, dtype, product, softcap)
    return _HeadCrossEntropy.apply(*arguments)  # type: ignore[no-any-return, no-untyped-call]


class _HeadCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MD: Tensor,
        weight_VD: Tensor,
        targets_M: Tensor,
        weights_M: Tensor | None,
        smoothing_M: Tensor | None,
        dtype: torch.dtype,
        product: Product,
        softcap: float,
    ) -> Tensor:
        ctx.head = head = _Head(weight_VD, dtype=dtype, product=product, softcap=softcap)
        ctx.smoothing_M = smoothing_M
        needs = ctx.needs_input_grad[:2]
        if weights_M is None or not any(needs):
            ctx.save_for_backward(hidden_MD, targets_M)
            ctx.gradients = None
            blocks = _blocks(len(hidden_MD), width=len(weight_VD), most=BLOCK_LOGITS)
            scored = (head.score(hidden_MD[rows], targets_M[rows], _part(smoothing_M, rows)) for rows in blocks)
            return torch.cat([losses_M for losses_M, _ in scored])
        ctx.save_for_backward(weights_M)
        losses_M, ctx.gradients = _learn(head, hidden_MD, targets_M, weights_M, smoothing_M, needs=needs)
        return losses_M

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            hidden_MD, targets_M = ctx.saved_tensors
            needs = ctx.needs_input_grad[:2]
            _, found = _learn(ctx.head, hidden_MD, targets_M, gradients[0], ctx.smoothing_M, needs=needs)
        else:
            weights_M = ctx.saved_tensors[0].to(gradients[0].dtype)
            factor = gradients[0].sum() / weights_M.sum()
            if weights_M.device.type == "cpu":  # elsewhere one would have to wait for it
                is_announced = torch.allclose(gradients[0], factor * weights_M, rtol=1e-3, equal_nan=True)
                assert is_announced, "positions count as announced"
            found = [None if part is None else part.mul_(factor) for part in ctx.gradients]
            ctx.gradients = None
        return (*found, None, None, None, None, None, None)


def _learn(
    head: _Head,
    hidden_MD: Tensor,
    targets_M: Tensor,
    weights_M: Tensor,
    smoothing_M: Tensor | None,
    *,
    needs: Sequence[bool],
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the losses (M,), and the gradients of hidden states and weight of their weighted sum where needed."""
    needs_hidden, needs_weight = needs
    grad_hidden = torch.empty_like(hidden_MD) if needs_hidden else None
    grad_weight = head.no_gradient(hidden_MD.dtype) if needs_weight else None
    losses = []
    for rows in _blocks(len(hidden_MD), width=head.vocab_size, most=BLOCK_LOGITS):
        losses_M, errors_MV = head.score(hidden_MD[rows], targets_M[rows], _part(smoothing_M, rows))
        losses.append(losses_M)
        weights_M1 = weights_M[rows, None]
        if grad_hidden is not None:
            grad_hidden[rows] = head.back(errors_MV) * weights_M1
        if grad_weight is not None:
            head.add_outer(grad_weight, errors_MV, hidden_MD[rows] * weights_M1)
        del errors_MV
    return torch.cat(losses), [grad_hidden, grad_weight]


def _part(values_M: Tensor | None, rows: slice) -> Tensor | None:
    return None if values_M is None else values_M[rows]


class _Head:
    """The three products around the logits of one block."""

    def __init__(self, weight_VD: Tensor, *, dtype: torch.dtype, product: Product, softcap: float) -> None:
        self._weight_VD = weight_VD.to(dtype)
        self._dtype = dtype
        self._product = product
        self._softcap = softcap
        self.vocab_size = len(weight_VD)

    def score(self, hidden_MD: Tensor, targets_M: Tensor, smoothing_M: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return losses (M,) and their gradient by what the product gave, (M, V), both at least float32."""
        raw_MV = self._product(hidden_MD.to(self._dtype), self._weight_VD, None)
        raw_MV = raw_MV if raw_MV.dtype == torch.float64 else raw_MV.float()
        capped_MV = raw_MV.div_(self._softcap).tanh_().mul_(self._softcap) if self._softcap else raw_MV
        is_spent = not self._softcap and capped_MV.device.type == "cpu"  # otherwise needed once more, or not tried
        log_probs_MV = torch.log_softmax(capped_MV, dim=1, out=capped_MV if is_spent else None)
        column_M1 = targets_M[:, None]
        losses_M = -log_probs_MV.gather(1, column_M1).squeeze(1)
        if smoothing_M is not None:
            losses_M = torch.lerp(losses_M, -log_probs_MV.mean(dim=1), smoothing_M.to(losses_M.dtype))
        errors_MV = log_probs_MV.exp_()
        certain_M1 = errors_MV.new_full((1, 1), -1.0).expand_as(column_M1)
        if smoothing_M is not None:
            certain_M1 = (smoothing_M.to(errors_MV.dtype) - 1.0)[:, None]
            errors_MV.sub_(smoothing_M.to(errors_MV.dtype)[:, None] / self.vocab_size)
        errors_MV.scatter_add_(1, column_M1, certain_M1)
        if self._softcap:
            errors_MV.mul_(capped_MV.div_(self._softcap).square_().neg_().add_(1.0))
        return losses_M, errors_MV

    def back(self, errors_MV: Tensor) -> Tensor:
        """Return the gradient of the hidden states, (M, D)."""
        return self._product(errors_MV.to(self._dtype), self._weight_VD.t(), None)

    def no_gradient(self, dtype: torch.dtype) -> Tensor:
        """Return a gradient of the weight, (V, D), to which nothing has been added yet."""
        return torch.zeros(self._weight_VD.shape, dtype=dtype, device=self._weight_VD.device)

    def add_outer(self, gradient_VD: Tensor, errors_MV: Tensor, hidden_MD: Tensor) -> None:
        """Add the gradient of the weight, for some words at a time: a product cannot be added in place."""
        hidden_DM = hidden_MD.to(self._dtype).t()
        for words in _blocks(self.vocab_size, width=hidden_MD.shape[1], most=BLOCK_GRADIENTS):
            errors_WM = errors_MV[:, words].to(self._dtype).t().contiguous()
            gradient_VD[words] += self._product(errors_WM, hidden_DM, None)


def _blocks(num: int, *, width: int, most: int) -> Iterator[slice]:
    """Cut rows into blocks of equal size, give or take one row, none of more numbers than `most` (or of one row)."""
    count = max(1, -(-num // max(1, most // width)))
    edges = [num * block // count for block in range(count + 1)]
    return (slice(start, end) for start, end in zip(edges[:-1], edges[1:], strict=True))
