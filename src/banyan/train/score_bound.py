"""Attention scores that have grown too large, made smaller at their source: the weights of queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from banyan.model.attention import Attention


def can_shrink_scores(model: nn.Module, layer: str) -> bool:
    """Return whether what the scores of a layer come from can learn at all."""
    return bool(_sources(model, layer))


@torch.no_grad()
def shrink_scores(model: nn.Module, layer: str, *, factor: float) -> None:
    """Multiply all attention scores of a layer by a factor; queries and keys take an equal part of it.

    Where queries and keys have a norm, the gains behind it are changed.
    Source: Kimi Team 2025 (Kimi K2, arXiv 2507.20534), QK-clip; here for all heads of a layer alike.
    """
    for source in _sources(model, layer):
        source.mul_(factor**0.5)


def _sources(model: nn.Module, layer: str) -> list[Tensor]:
    """Return what queries and keys are proportional to, as far as it learns."""
    attention = model.get_submodule(layer)
    assert isinstance(attention, Attention), "scores belong to attention"
    if attention.has_qk_norm:
        return [gain for gain in (attention.q_gain, attention.k_gain) if gain is not None and gain.requires_grad]
    num_rows = (attention.num_heads + attention.num_kv_heads) * attention.head_dim
    parts = (attention.qkv.weight, attention.qkv.bias)
    return [part[:num_rows] for part in parts if part is not None and part.requires_grad]
