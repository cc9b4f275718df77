"""In which number format a model computes, and by which routine; models know neither, it is applied from outside."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from banyan.core.errors import ConfigError
from banyan.model.linear import Product, use_product
from banyan.model.products import Products, product_named
from banyan.train.int8 import int8_linear
from banyan.train.losses import TaskLosses
from banyan.train.step import LossFunction

Precision = Literal["auto", "float32", "bfloat16", "int8"]


def choose_precision(name: Precision, device: torch.device) -> torch.dtype:
    """Return the number format of the matrix products; `auto` takes bfloat16 on a GPU, and float32 on a CPU.

    Whether int8 is better for a run on a CPU is settled before (`auto_precision.py`), and then stands in its recipe.
    Raises: ConfigError for bfloat16 on a CPU that has no instructions for it, where it is several times slower, and for
    int8 on a GPU, where nobody has measured it.
    """
    if name == "int8" and device.type == "cpu":
        return torch.int8
    if name == "int8":
        raise ConfigError("train.precision=int8 is for CPUs.", hint="set train.precision=auto")
    if name == "float32" or (name == "auto" and device.type == "cpu"):
        return torch.float32
    if device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        raise ConfigError(
            "train.precision=bfloat16 is slower than float32 on this CPU, which has no instructions for it.",
            hint="set train.precision=float32",
        )
    return torch.bfloat16


def in_precision(
    loss_function: LossFunction, *, model: nn.Module, precision: Precision, products: Products = "auto"
) -> LossFunction:
    """Return the loss function with its matrix products in a number format; weights and sums stay in float32.

    On a CPU the layers use the float32 routine that is named from now on, which decides the order of their sums but
    not their precision. In int8, the products inside the blocks are in int8 while the loss is computed, and only then.
    """
    device = device_of(model)
    dtype = choose_precision(precision, device)
    if device.type == "cpu" and dtype != torch.bfloat16:
        use_product(model, product_named(products))
    if dtype == torch.float32:
        return loss_function
    if dtype == torch.int8:
        return _in_int8(loss_function, product=product_named(products))

    def computed(model: Any, batch: Any) -> TaskLosses:
        with torch.autocast(device.type, dtype=dtype):
            return loss_function(model, batch)

    return computed


def _in_int8(loss_function: LossFunction, *, product: Product) -> LossFunction:
    def computed(model: Any, batch: Any) -> TaskLosses:
        use_product(model.blocks, int8_linear)
        try:
            return loss_function(model, batch)
        finally:
            use_product(model.blocks, product)

    return computed


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's weights lie."""
    return next(model.parameters()).device
