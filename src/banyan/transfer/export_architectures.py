"""Which models another tool can compute, and what to say of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from banyan.core.errors import ConfigError
from banyan.model.config import ModelConfig
from banyan.model.hugging_face_config import stock_architecture

_KNOWN = "GPT-2, Llama, Mistral, Qwen2 and Qwen3"
# What none of them has, alone or together with anything.
_OURS_ALONE: Mapping[str, Callable[[Any], bool]] = {
    "lookback": lambda value: bool(value),
    "logit_softcap": lambda value: bool(value),
    "norm_gain": lambda value: not value,
    "qk_norm": lambda value: value == "plain",
    "activation": lambda value: value in ("relu2", "gelu"),
    "position": lambda value: value == "none",
}
_COMBINED = ("norm", "position", "activation", "qk_norm", "attention_bias", "output_bias", "ffn_bias", "num_kv_heads")


def exportable_architecture(name: str, config: ModelConfig) -> str:
    """Return the stock architecture that computes exactly what a model does.

    Raises: ConfigError naming what no stock architecture has.
    """
    architecture = stock_architecture(config)
    if architecture is not None:
        return architecture
    alone = [field for field, is_ours in _OURS_ALONE.items() if is_ours(getattr(config, field))]
    shown = ", ".join(f"{field}={getattr(config, field)}" for field in alone or _COMBINED)
    raise ConfigError(
        f"{name} cannot be exported: no stock architecture ({_KNOWN}) computes {shown}{'' if alone else ' together'}.",
        hint="serve it with `banyan serve`, or train a banyan-* preset, which other tools open as it is",
    )
