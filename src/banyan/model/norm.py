"""Keeping the residual stream at one scale: RMS norm and layer norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.config import ModelConfig


class RMSNorm(nn.Module):
    """Divide each vector by its root mean square, then multiply by a learned gain.

    Source: Zhang and Sennrich 2019.
    """

    def __init__(self, dim: int, *, eps: float, has_gain: bool = True) -> None:
        super().__init__()
        self.dim = (dim,)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if has_gain else None

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the normalised vectors; same shape."""
        return F.rms_norm(x_BTD, self.dim, self.weight, self.eps)


class LayerNorm(nn.Module):
    """Subtract each vector's mean, divide by its deviation, then apply a learned gain and bias.

    Source: Ba et al. 2016.
    """

    def __init__(self, dim: int, *, eps: float, has_gain: bool = True, has_bias: bool = True) -> None:
        super().__init__()
        self.dim = (dim,)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim)) if has_gain else None
        self.bias = nn.Parameter(torch.zeros(dim)) if has_bias else None

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the normalised vectors; same shape."""
        return F.layer_norm(x_BTD, self.dim, self.weight, self.bias, self.eps)


def build_norm(config: ModelConfig) -> nn.Module:
    """Return the norm over the residual stream that a config asks for."""
    if config.norm == "rms":
        return RMSNorm(config.embed_dim, eps=config.norm_eps, has_gain=config.norm_gain)
    return LayerNorm(config.embed_dim, eps=config.norm_eps, has_gain=config.norm_gain, has_bias=config.norm_bias)
