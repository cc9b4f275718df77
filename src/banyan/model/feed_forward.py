"""The part of a block that thinks about each position by itself."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.config import ModelConfig
from banyan.model.linear import Linear
from banyan.model.low_rank import AdapterPass, through


class GatedFeedForward(nn.Module):
    """SwiGLU: one half of a wide projection gates the other. Gate and value come from one matrix.

    Source: Shazeer 2020.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.embed_dim, 2 * config.ffn_dim, bias=config.ffn_bias)
        self.down = Linear(config.ffn_dim, config.embed_dim, bias=config.ffn_bias)

    def forward(self, x_BTD: Tensor, adapters: AdapterPass | None = None) -> Tensor:
        """Shapes: x (B, T, D); returns (B, T, D)."""
        gate_BTF, value_BTF = through(self.gate_up, x_BTD, adapters).chunk(2, dim=-1)
        return through(self.down, F.silu(gate_BTF) * value_BTF, adapters)


class FeedForward(nn.Module):
    """Two projections with a bend between them.

    Source: GELU, Hendrycks and Gimpel 2016; squared ReLU, So et al. 2021.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.up = Linear(config.embed_dim, config.ffn_dim, bias=config.ffn_bias)
        self.down = Linear(config.ffn_dim, config.embed_dim, bias=config.ffn_bias)

    def forward(self, x_BTD: Tensor, adapters: AdapterPass | None = None) -> Tensor:
        """Shapes: x (B, T, D); returns (B, T, D)."""
        return through(self.down, self._bend(through(self.up, x_BTD, adapters)), adapters)

    def _bend(self, wide_BTF: Tensor) -> Tensor:
        if self.activation == "relu2":
            return F.relu(wide_BTF).square()
        return F.gelu(wide_BTF, approximate="tanh" if self.activation == "gelu_tanh" else "none")


def build_feed_forward(config: ModelConfig) -> nn.Module:
    """Return the feed-forward part that a config asks for."""
    return GatedFeedForward(config) if config.activation == "swiglu" else FeedForward(config)
