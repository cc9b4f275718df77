"""The part of a block that thinks about each position by itself."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.config import ModelConfig
from banyan.model.linear import Linear
from banyan.model.low_rank import AdapterPass, through
from banyan.model.made_again import made_again


class GatedFeedForward(nn.Module):
    """SwiGLU: one half of a wide projection gates the other. Gate and value come from one matrix.

    Source: Shazeer 2020.
    """

    makes_again = False  # for the backward pass, the gate once bent and what it lets through

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = Linear(config.embed_dim, 2 * config.ffn_dim, bias=config.ffn_bias)
        self.down = Linear(config.ffn_dim, config.embed_dim, bias=config.ffn_bias)

    def forward(self, x_BTD: Tensor, adapters: AdapterPass | None = None) -> Tensor:
        """Shapes: x (B, T, D); returns (B, T, D)."""
        gate_BTF, value_BTF = through(self.gate_up, x_BTD, adapters).chunk(2, dim=-1)
        if not self.makes_again:
            return through(self.down, F.silu(gate_BTF) * value_BTF, adapters)
        gate, value = gate_BTF.detach(), value_BTF.detach()
        bent_BTF = F.silu(gate_BTF)
        with made_again(bent_BTF, partial(F.silu, gate)):
            let_through_BTF = bent_BTF * value_BTF
        with made_again(let_through_BTF, lambda: F.silu(gate) * value):
            return through(self.down, let_through_BTF, adapters)


class FeedForward(nn.Module):
    """Two projections with a bend between them.

    Source: GELU, Hendrycks and Gimpel 2016; squared ReLU, So et al. 2021.
    """

    makes_again = False  # for the backward pass, what is bent

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.up = Linear(config.embed_dim, config.ffn_dim, bias=config.ffn_bias)
        self.down = Linear(config.ffn_dim, config.embed_dim, bias=config.ffn_bias)

    def forward(self, x_BTD: Tensor, adapters: AdapterPass | None = None) -> Tensor:
        """Shapes: x (B, T, D); returns (B, T, D)."""
        wide_BTF = through(self.up, x_BTD, adapters)
        bent_BTF = self._bend(wide_BTF)
        if not self.makes_again:
            return through(self.down, bent_BTF, adapters)
        with made_again(bent_BTF, partial(self._bend, wide_BTF.detach())):
            return through(self.down, bent_BTF, adapters)

    def _bend(self, wide_BTF: Tensor) -> Tensor:
        if self.activation == "relu2":
            return F.relu(wide_BTF).square()
        return F.gelu(wide_BTF, approximate="tanh" if self.activation == "gelu_tanh" else "none")


def build_feed_forward(config: ModelConfig) -> nn.Module:
    """Return the feed-forward part that a config asks for."""
    return GatedFeedForward(config) if config.activation == "swiglu" else FeedForward(config)
