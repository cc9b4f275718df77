"""What a token takes over from the few tokens before it, ahead of all layers."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from banyan.model.cache_spans import AnyPass
from banyan.model.config import ModelConfig


class Lookback(nn.Module):
    """Add to each token's embedding those of the few tokens before it, weighed channel by channel.

    So the first layer knows what stands just before a token, which attention alone takes hundreds of steps to find out.
    Source: a causal depthwise convolution; token shift, Peng et al. 2023 (RWKV); Allen-Zhu 2025 (Canon layers), here
    in front of the first layer only.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        # One gain per distance, nearest first; vectors, so that an optimizer takes them for gains and not a matrix.
        self.gains = nn.ParameterList(torch.ones(config.embed_dim) for _ in range(config.lookback))

    def embed(
        self, embedding: nn.Module, token_ids_BT: Tensor, position_ids_BT: Tensor, *, cache: AnyPass | None
    ) -> Tensor:
        """Return the mixed embeddings of tokens; with a cache, the tokens before the first ones are those it holds.

        Shapes: all (B, T); returns (B, T, D).
        """
        if cache is None:
            return self(embedding(F.pad(token_ids_BT, (len(self.gains), 0))), position_ids_BT)  # type: ignore[no-any-return]
        earlier = map(embedding, cache.earlier_tokens(token_ids_BT).unbind(dim=-1))
        return self.mix(embedding(token_ids_BT), earlier, position_ids_BT)

    def forward(self, x_BSD: Tensor, position_ids_BT: Tensor) -> Tensor:
        """Return the mixed embeddings of the last T positions.

        Shapes: x (B, S, D), S = lookback + T, the tokens before each row first; position_ids (B or 1, T), which restart
        at 0 in each segment: nothing is taken from before that; returns (B, T, D).
        """
        first, end = len(self.gains), x_BSD.shape[1]
        earlier = (x_BSD[:, first - distance : end - distance] for distance in range(1, first + 1))
        return self.mix(x_BSD[:, first:], earlier, position_ids_BT)

    def mix(self, x_BTD: Tensor, earlier: Iterable[Tensor], position_ids_BT: Tensor) -> Tensor:
        """Return embeddings mixed with those of the tokens before each.

        Shapes: x (B, T, D); earlier: as many of (B, T, D) as the lookback, the nearest first; returns (B, T, D).
        """
        mixed_BTD = x_BTD
        for distance, (gain_D, earlier_BTD) in enumerate(zip(self.gains, earlier, strict=True), start=1):
            has_earlier_BT1 = (position_ids_BT >= distance).unsqueeze(-1).to(x_BTD.dtype)
            mixed_BTD = torch.addcmul(mixed_BTD, earlier_BTD * has_earlier_BT1, gain_D)
        return mixed_BTD
