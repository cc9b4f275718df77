"""One matrix that holds several (queries, keys, values; gate and value) taken apart, so that each can be divided."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from banyan.core.errors import ConfigError
from banyan.model.attention import Attention
from banyan.model.config import ModelConfig
from banyan.model.feed_forward import GatedFeedForward
from banyan.model.linear import Linear
from banyan.model.transformer import Transformer

_PART = re.compile(r"(.+)\.parts\.(\d+)\.(weight|bias)(/.+)?")  # module, part, parameter, optimizer's memory
_STACKED = re.compile(r"(.+\.(?:qkv|gate_up))\.(weight|bias)(/.+)?")


class StackedLinear(nn.Module):
    """Several linear layers side by side, with the output of the one layer they were."""

    def __init__(self, whole: nn.Linear, num_rows: tuple[int, ...]) -> None:
        super().__init__()
        has_bias = whole.bias is not None
        with torch.device(whole.weight.device):
            parts = [Linear(whole.in_features, rows, bias=has_bias, dtype=whole.weight.dtype) for rows in num_rows]
        self.parts = nn.ModuleList(parts)
        with torch.no_grad():
            for part, weight in zip(parts, torch.split(whole.weight, list(num_rows)), strict=True):
                part.weight.copy_(weight)
            for part, bias in zip(parts, torch.split(whole.bias, list(num_rows)) if has_bias else (), strict=has_bias):
                part.bias.copy_(bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Shapes: x (B, T, D); returns (B, T, rows of all parts, or of this rank's share of each)."""
        return torch.cat([part(x_BTD) for part in self.parts], dim=-1)


def take_apart(model: Transformer) -> None:
    """Replace every stacked matrix of a model by its parts; the model computes what it did before."""
    for module in list(model.modules()):
        if isinstance(module, Attention):
            module.register_module("qkv", StackedLinear(module.qkv, qkv_rows(model.config)))
        elif isinstance(module, GatedFeedForward):
            module.register_module("gate_up", StackedLinear(module.gate_up, (model.config.ffn_dim,) * 2))


def qkv_rows(config: ModelConfig) -> tuple[int, int, int]:
    """Return how many rows are those of the queries, the keys and the values."""
    return (config.num_heads * config.head_dim, *(config.num_kv_heads * config.head_dim,) * 2)


def join_parts(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return named tensors (weights, or what an optimizer remembers of them) under the names of the undivided model.

    They may come in any order.
    """
    joined: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        found = _PART.fullmatch(name)
        whole, part = (f"{found[1]}.{found[3]}{found[4] or ''}", int(found[2])) if found else (name, 0)
        joined.setdefault(whole, {})[part] = tensor
    return {name: _joined([parts[part] for part in sorted(parts)]) for name, parts in joined.items()}


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if parts[0].ndim == 0 or len(parts) == 1 else torch.cat(parts)


def split_parts(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return named tensors of the undivided model under the names of its parts."""
    split: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found = _STACKED.fullmatch(name)
        if found is None or (found[1].endswith("gate_up") and config.activation != "swiglu"):
            split[name] = tensor
            continue
        rows = qkv_rows(config) if found[1].endswith("qkv") else (config.ffn_dim,) * 2
        pieces = [tensor] * len(rows) if tensor.ndim == 0 else torch.split(tensor, list(rows))
        split |= {f"{found[1]}.parts.{i}.{found[2]}{found[3] or ''}": piece for i, piece in enumerate(pieces)}
    return split


def check_divisible(config: ModelConfig, *, tensor: int) -> None:
    """Make sure that heads and feed-forward can be divided among ranks.

    Raises: ConfigError naming what cannot.
    """
    for name in ("num_heads", "num_kv_heads", "ffn_dim"):
        if (value := getattr(config, name)) % tensor:
            raise ConfigError(
                f"parallel.tensor={tensor} does not divide model.{name}={value}; every rank takes as much of it.",
                hint="choose a parallel.tensor that divides it, or use parallel.shard instead",
            )
