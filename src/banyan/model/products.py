"""Two routines for float32 matrix products on a CPU, and which of them is the faster one here.

PyTorch hands float32 products to MKL, which uses half of the vector width on processors of other makers. oneDNN, which
comes with PyTorch too, uses all of it. Measured on two cores of an AMD EPYC with AVX-512: MKL 180 GFLOP/s, oneDNN 390.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.linear import Product

MIN_GAIN = 1.25  # so much faster must oneDNN be; about 2 was seen, so that probes of one machine agree
Products: TypeAlias = Literal["auto", "torch", "onednn"]
_PROBE_ROWS, _PROBE_WIDTH, _PROBE_ROUNDS = 512, 512, 12


# Compiled code can only call operators it knows by name, so this one has a name of its own.
_LIBRARY = torch.library.Library("banyan", "FRAGMENT")  # type: ignore[no-untyped-call]
_LIBRARY.define("onednn_linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")  # type: ignore[no-untyped-call]


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x · weightᵀ + bias by oneDNN; by PyTorch's own choice where the tensors are not plain float32 on a CPU.

    Shapes: x (..., in); weight (out, in); bias (out,); returns (..., out).
    """
    if not (_is_plain(x) and _is_plain(weight)):
        return F.linear(x, weight, bias)
    output: Tensor = torch.ops.banyan.onednn_linear(x, weight, bias)
    return output


def _is_plain(x: Tensor) -> bool:
    is_whole = type(x) in (Tensor, nn.Parameter) or torch.compiler.is_compiling()  # no tensor spread over processes
    return is_whole and x.dtype == torch.float32 and x.device.type == "cpu"


def _compute(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    output: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return output


def _shape_only(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], len(weight)))


def _keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    needs_x, needs_weight, needs_bias = ctx.needs_input_grad
    gradient_MO, x_MI = gradient.flatten(0, -2), x.flatten(0, -2)
    grad_x = onednn_linear(gradient, weight.t()) if needs_x else None
    grad_weight = _outer(gradient_MO, x_MI) if needs_weight else None
    return grad_x, grad_weight, gradient_MO.sum(0) if needs_bias else None


def _outer(gradient_MO: Tensor, x_MI: Tensor) -> Tensor:
    """Return gradientᵀ · x, (O, I). The left factor has to be laid out anew, so the narrower of the two is the left."""
    if gradient_MO.shape[1] <= x_MI.shape[1]:
        return onednn_linear(gradient_MO.t().contiguous(), x_MI.t())
    return onednn_linear(x_MI.t().contiguous(), gradient_MO.t()).t().contiguous()


_LIBRARY.impl("onednn_linear", _compute, "CPU")  # type: ignore[no-untyped-call]
_LIBRARY.impl("onednn_linear", _shape_only, "Meta")  # type: ignore[no-untyped-call]
torch.library.register_autograd("banyan::onednn_linear", _backward, setup_context=_keep_for_backward, lib=_LIBRARY)


def product_named(name: Products) -> Product:
    """Return the routine of a name; `auto` is the one that is faster here."""
    return onednn_linear if (fastest_products() if name == "auto" else name) == "onednn" else F.linear


def routines() -> tuple[Product, ...]:
    """Return the routines there are here: PyTorch's own, and oneDNN where PyTorch was built with it."""
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return (F.linear, onednn_linear) if has_onednn else (F.linear,)


@cache
def fastest_products() -> Products:
    """Return which routine for float32 products is faster on this CPU, measured once per process in some 30 ms."""
    if onednn_linear not in routines():
        return "torch"
    x, weight = torch.ones(_PROBE_ROWS, _PROBE_WIDTH), torch.ones(_PROBE_WIDTH, _PROBE_WIDTH)
    # In turns, so that a busy moment strikes both. Five of one after five of the other chose otherwise in one of 30
    # starts of two processes that shared a core.
    turns = [
        (seconds_of(lambda: F.linear(x, weight)), seconds_of(lambda: onednn_linear(x, weight)))
        for _ in range(_PROBE_ROUNDS)
    ]
    own, onednn = (min(seconds) for seconds in zip(*turns, strict=True))
    return "onednn" if own > MIN_GAIN * onednn else "torch"


def seconds_of(work: Callable[[], Tensor]) -> float:
    """Return how long a product takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
