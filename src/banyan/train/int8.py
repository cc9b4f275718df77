"""Linear layers in int8: each product with scales of its own, taken from the very numbers it multiplies.

Scales run along rows for the forward pass and are taken anew for each product of the backward pass, so that every sum
runs over numbers of one scale. The gradient is rounded up or down by chance, for small values always rounded to zero
would lose what they add up to; values and weights are rounded to the nearest. Sums, scales and everything outside of
the products stay in float32.
Source: Xi et al. 2024 (Jetfire); Wortsman et al. 2023 (SwitchBack); rounding by chance, Gupta et al. 2015.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 127.0
_HASH = -1640531527  # 2^32 divided by the golden ratio, as int32: its multiples spread evenly
_FRACTION_BITS = 23


def int8_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x · weightᵀ + bias with all three products, forward and backward, in int8.

    Worth it only in compiled code, where quantising is one pass over the numbers.
    Shapes: x (..., in); weight (out, in); bias (out,); returns (..., out), float32.
    """
    if x.dtype != torch.float32 or min(weight.shape) < 32:  # nothing to gain, and much to lose
        return F.linear(x, weight, bias)
    output: Tensor = _Int8Linear.apply(x, weight)  # type: ignore[no-untyped-call]
    return output if bias is None else output + bias


def quantised(x: Tensor, *, dim: int, is_by_chance: bool = False) -> tuple[Tensor, Tensor]:
    """Return int8 numbers and the scales along a dimension (kept, of size 1) that turn them back.

    `is_by_chance` rounds up with the probability of the part cut off, drawn from the bits of the number itself: a
    number is always rounded alike, so that a resumed run rounds as the first one did.
    """
    scale = x.abs().amax(dim=dim, keepdim=True).clamp(min=1e-30) / LARGEST
    wide = x / scale
    wide = torch.floor(wide + _chance(x)) if is_by_chance else wide.round()
    return wide.clamp(-LARGEST, LARGEST).to(torch.int8), scale


def _chance(x: Tensor) -> Tensor:
    """Return numbers spread evenly over 0 ≤ u < 1 that have nothing to do with the size of x."""
    mixed = x.view(torch.int32) * _HASH
    mixed = (mixed ^ (mixed >> 15)) * _HASH
    return ((mixed >> 8) & ((1 << _FRACTION_BITS) - 1)).float() * 2.0**-_FRACTION_BITS


def _product(a_MK: tuple[Tensor, Tensor], b_KN: tuple[Tensor, Tensor]) -> Tensor:
    """Return the product of two quantised matrices, a with scales (M, 1) and b with scales (1, N), as float32."""
    return torch._int_mm(a_MK[0], b_KN[0]).float() * a_MK[1] * b_KN[1]


class _Int8Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight_OI)
        x_MI = x.flatten(0, -2)
        values, scales = quantised(weight_OI, dim=1)
        return _product(quantised(x_MI, dim=1), (values.t(), scales.t())).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight_OI = ctx.saved_tensors
        gradient_MO, x_MI = gradients[0].flatten(0, -2), x.flatten(0, -2)
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            rows = quantised(gradient_MO, dim=1, is_by_chance=True)
            grad_x = _product(rows, quantised(weight_OI, dim=0)).view(x.shape)
        if ctx.needs_input_grad[1]:
            values, scales = quantised(gradient_MO, dim=0, is_by_chance=True)
            grad_weight = _product((values.t(), scales.t()), quantised(x_MI, dim=0))
        return grad_x, grad_weight
