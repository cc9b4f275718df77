"""In which number format a model computes, and by which routine; models know neither, it is applied from outside."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from banyan.core.errors import ConfigError
from banyan.model.linear import use_product
from banyan.model.products import fastest_product
from banyan.train.losses import TaskLosses
from banyan.train.step import LossFunction

Precision = Literal["auto", "float32", "bfloat16"]


def choose_precision(name: Precision, device: torch.device) -> torch.dtype:
    """Return the number format of the matrix products; `auto` takes bfloat16 on a GPU, and float32 on a CPU.

    Raises: ConfigError for bfloat16 on a CPU that has no instructions for it: there it is several times slower.
    """
    if name == "float32" or (name == "auto" and device.type == "cpu"):
        return torch.float32
    if device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        raise ConfigError(
            "train.precision=bfloat16 is slower than float32 on this CPU, which has no instructions for it.",
            hint="set train.precision=auto",
        )
    return torch.bfloat16


def in_precision(loss_function: LossFunction, *, model: nn.Module, precision: Precision) -> LossFunction:
    """Return the loss function with its matrix products in a number format; weights and sums stay in float32.

    In float32 on a CPU, the model's linear layers are given the fastest routine from now on, which changes the order of
    their sums but not their precision.
    """
    device = device_of(model)
    dtype = choose_precision(precision, device)
    if dtype == torch.float32:
        if device.type == "cpu":
            use_product(model, fastest_product())
        return loss_function

    def computed(model: Any, batch: Any) -> TaskLosses:
        with torch.autocast(device.type, dtype=dtype):
            return loss_function(model, batch)

    return computed


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's weights lie."""
    return next(model.parameters()).device
