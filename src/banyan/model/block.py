"""One layer of the Transformer."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from banyan.model.attention import Attention, AttentionPlan
from banyan.model.config import ModelConfig
from banyan.model.dropout import drop
from banyan.model.feed_forward import build_feed_forward
from banyan.model.made_again import made_again
from banyan.model.norm import build_norm


class Block(nn.Module):
    """One layer: attention, then feed-forward, each normed before and added to the residual stream after."""

    makes_again = False  # for the backward pass, what the norms gave

    def __init__(self, config: ModelConfig, *, layer: int) -> None:
        super().__init__()
        self.attention_norm = build_norm(config)
        self.attention = Attention(config, layer=layer)
        self.feed_forward_norm = build_norm(config)
        self.feed_forward = build_feed_forward(config)
        self.layer = layer
        self.dropout = config.dropout

    def forward(self, x_BTD: Tensor, plan: AttentionPlan, noise_keys_BT: Tensor | None = None) -> Tensor:
        """Shapes: x (B, T, D); noise keys (B, T), None where nothing is dropped; returns (B, T, D)."""
        x_BTD = x_BTD + self._drop(self._look(x_BTD, plan), noise_keys_BT, part=0)
        return x_BTD + self._drop(self._think(x_BTD, plan), noise_keys_BT, part=1)

    def _look(self, x_BTD: Tensor, plan: AttentionPlan) -> Tensor:
        normed_BTD = self.attention_norm(x_BTD)
        if not self.makes_again:
            return self.attention(normed_BTD, plan)  # type: ignore[no-any-return]
        with made_again(normed_BTD, partial(self.attention_norm.forward, x_BTD.detach())):
            return self.attention(normed_BTD, plan)  # type: ignore[no-any-return]

    def _think(self, x_BTD: Tensor, plan: AttentionPlan) -> Tensor:
        normed_BTD = self.feed_forward_norm(x_BTD)
        if not self.makes_again:
            return self.feed_forward(normed_BTD, plan.adapters)  # type: ignore[no-any-return]
        with made_again(normed_BTD, partial(self.feed_forward_norm.forward, x_BTD.detach())):
            return self.feed_forward(normed_BTD, plan.adapters)  # type: ignore[no-any-return]

    def _drop(self, x_BTD: Tensor, noise_keys_BT: Tensor | None, *, part: int) -> Tensor:
        if noise_keys_BT is None:
            return x_BTD
        return drop(x_BTD, noise_keys_BT, site=2 * self.layer + part, rate=self.dropout)
