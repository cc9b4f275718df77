"""A Transformer small enough for a test to build, train and save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from banyan.core.config import config_from_mapping
from banyan.core.types import HeadSpec
from banyan.model.config import ModelConfig
from banyan.model.transformer import Transformer

_TINY: dict[str, Any] = {
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "embed_dim": 32,
    "vocab_size": 320,
    "max_seq_len": 64,
    "qk_norm": "gain",
}


def tiny_model_config(**changes: Any) -> ModelConfig:
    """Return a Qwen3-shaped config of two layers, with any of its fields changed."""
    return config_from_mapping(ModelConfig, {**_TINY, **changes}, source="tiny model")


def tiny_model(
    config: ModelConfig | None = None, heads: Sequence[HeadSpec] = (), *, seed: int = 0, std: float = 0.1
) -> Transformer:
    """Return a tiny model in which every weight is random, so that leaving any part out changes the result."""
    model = Transformer(tiny_model_config() if config is None else config, heads)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * std)
    return model.eval()
