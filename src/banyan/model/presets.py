"""Models by name. A preset is a set of config fields; a recipe adds its vocabulary and changes what it likes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from banyan.core.config import config_from_mapping
from banyan.core.registry import Registry
from banyan.model.config import ModelConfig

Preset: TypeAlias = Mapping[str, Any]  # fields of ModelConfig

GPT2_SHAPE: Preset = MappingProxyType(
    {
        "norm": "layer",
        "norm_eps": 1e-5,
        "norm_bias": True,
        "position": "learned",
        "activation": "gelu_tanh",
        "attention_bias": True,
        "output_bias": True,
        "ffn_bias": True,
    }
)
LLAMA_SHAPE: Preset = MappingProxyType({"norm_eps": 1e-5, "rope_theta": 500_000.0})
MISTRAL_SHAPE: Preset = MappingProxyType({"norm_eps": 1e-5, "sliding_window": 4096, "tie_embeddings": False})
QWEN2_SHAPE: Preset = MappingProxyType({"rope_theta": 1_000_000.0, "attention_bias": True})
QWEN3_SHAPE: Preset = MappingProxyType({"rope_theta": 1_000_000.0, "qk_norm": "gain"})
BANYAN_SHAPE: Preset = MappingProxyType({**QWEN3_SHAPE, "rope_theta": 10_000.0, "max_seq_len": 1024})
# What learns fastest per second of training, whether or not another tool can compute it; `docs/time-to-loss.md`.
SPRINT_SHAPE: Preset = MappingProxyType(
    {
        "norm_gain": False,
        "activation": "relu2",
        "qk_norm": "plain",
        "tie_embeddings": False,
        "lookback": 3,
        "max_seq_len": 1024,
    }
)

MODEL_PRESETS: Registry[Preset] = Registry("model preset")


def model_config(preset: str, changes: Preset) -> ModelConfig:
    """Return a preset's config with some fields set or changed (the vocabulary at least, for the banyan family).

    Raises: UnknownNameError for a preset or a field that does not exist; ConfigError for a value that cannot be used.
    """
    return config_from_mapping(ModelConfig, {**MODEL_PRESETS[preset], **changes}, source=f"model {preset}")


def _sizes(num_layers: int, embed_dim: int, num_heads: int, num_kv_heads: int, head_dim: int, ffn_dim: int) -> Preset:
    return {
        "num_layers": num_layers,
        "embed_dim": embed_dim,
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "head_dim": head_dim,
        "ffn_dim": ffn_dim,
    }


def _add(name: str, shape: Preset, sizes: Preset, **fields: Any) -> None:
    MODEL_PRESETS.add(name, MappingProxyType({**shape, **sizes, **fields}))


# Our own, to be trained here; sizes in millions of weights without embeddings. Layers, width, heads, kv heads, …
_add("banyan-nano", BANYAN_SHAPE, _sizes(4, 128, 4, 2, 32, 320))  # 0.7
_add("banyan-micro", BANYAN_SHAPE, _sizes(4, 256, 4, 2, 64, 640))  # 2.8
_add("banyan-small", BANYAN_SHAPE, _sizes(8, 320, 5, 5, 64, 832))  # 9.7
_add("banyan-base", BANYAN_SHAPE, _sizes(8, 512, 8, 4, 64, 1408))  # 24
_add("banyan-gpt2s", BANYAN_SHAPE, _sizes(12, 768, 12, 12, 64, 2048))  # 85, as GPT-2 small

# Our own for a fast start; no stock architecture computes them, so they open in Banyan alone.
_add("sprint-nano", SPRINT_SHAPE, _sizes(4, 128, 4, 4, 32, 512))  # 0.8
_add("sprint-micro", SPRINT_SHAPE, _sizes(6, 256, 4, 4, 64, 1024))  # 4.7
_add("sprint-small", SPRINT_SHAPE, _sizes(8, 320, 5, 5, 64, 1280))  # 9.8

# Known ones, for their weights.
_add("gpt2", GPT2_SHAPE, _sizes(12, 768, 12, 12, 64, 3072), vocab_size=50257, max_seq_len=1024)
_add("gpt2-medium", GPT2_SHAPE, _sizes(24, 1024, 16, 16, 64, 4096), vocab_size=50257, max_seq_len=1024)
_add("mistral-7b", MISTRAL_SHAPE, _sizes(32, 4096, 32, 8, 128, 14336), vocab_size=32000, max_seq_len=32768)
_add("qwen2.5-0.5b", QWEN2_SHAPE, _sizes(24, 896, 14, 2, 64, 4864), vocab_size=151936, max_seq_len=32768)
_add("qwen3-0.6b", QWEN3_SHAPE, _sizes(28, 1024, 16, 8, 128, 3072), vocab_size=151936, max_seq_len=40960)
_add(
    "llama-3.2-1b",
    LLAMA_SHAPE,
    _sizes(16, 2048, 32, 8, 64, 8192),
    vocab_size=128256,
    max_seq_len=131072,
    rope_scaling={"factor": 32.0},
)
