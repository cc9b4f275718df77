"""Noise on the embeddings while a model learns, drawn as dropout is: a function of row, position and channel."""

from __future__ import annotations

import torch
from torch import Tensor

from banyan.model.dropout import splitmix

_LANES, _STEPS = 4, 1 << 15  # one hash serves four channels with 16 bits each
_SITE = -(1 << 32)  # before the counters of every place that drops


def add_noise(x_BTD: Tensor, keys_BT: Tensor, segment_ids_BT: Tensor | None, *, strength: float) -> Tensor:
    """Add even noise between ±strength / √(L · D), where L is the length of the example that a position lies in.

    So an example's noise is about strength / √3 long, however long the example is and wherever in a row it stands.
    Shapes: x (B, T, D); keys (B, T), from `position_keys`; segment_ids (B, T), None: a row is one example.
    Source: Jain et al. 2023 (NEFTune), algorithm 1. Deviation: there L counts the padding of a batch, too.
    """
    embed_dim = x_BTD.shape[-1]
    lanes = torch.arange(-(-embed_dim // _LANES), device=keys_BT.device)
    bits_BTD = splitmix(keys_BT[..., None] + (lanes + _SITE)).view(torch.int16)[..., :embed_dim]
    scale_BT1 = strength / (_lengths(keys_BT, segment_ids_BT) * embed_dim).sqrt().unsqueeze(-1)
    return x_BTD + ((bits_BTD + 0.5) * (scale_BT1 / _STEPS)).to(x_BTD.dtype)


def _lengths(keys_BT: Tensor, segment_ids_BT: Tensor | None) -> Tensor:
    """Return how many positions the segment of each position has."""
    ones_BT = torch.ones(keys_BT.shape, device=keys_BT.device)
    if segment_ids_BT is None:
        return ones_BT * keys_BT.shape[1]
    columns_BT = segment_ids_BT + 1  # padding is a segment, too
    sums_BS = ones_BT.new_zeros(len(keys_BT), keys_BT.shape[1] + 1).scatter_add(1, columns_BT, ones_BT)
    return sums_BS.gather(1, columns_BT)
