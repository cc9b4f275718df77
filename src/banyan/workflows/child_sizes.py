"""The sizes of a child: those of its parent. What a recipe asks for beside them is refused, with both values."""

from __future__ import annotations

import dataclasses

from banyan.core.errors import ConfigError
from banyan.model.config import ModelConfig
from banyan.model.presets import model_config
from banyan.workflows.recipe import ModelRecipe, Recipe

_SIZES = ("num_layers", "num_heads", "num_kv_heads", "head_dim", "embed_dim", "ffn_dim")


def child_config(recipe: Recipe, config: ModelConfig) -> ModelConfig:
    """Return the sizes of a child of a model of these sizes, with the context and dropout that the recipe asks for.

    Raises: ConfigError if the recipe gives other sizes, or a context that the parent cannot have.
    """
    _check_sizes(recipe.model, config)
    max_seq_len = recipe.model.max_seq_len or config.max_seq_len
    _check_context(max_seq_len, recipe, config)
    dropout = config.dropout if recipe.model.dropout is None else recipe.model.dropout
    return dataclasses.replace(config, max_seq_len=max_seq_len, dropout=dropout)


def _check_sizes(given: ModelRecipe, config: ModelConfig) -> None:
    asked = {name: getattr(given, name) for name in _SIZES}
    if given.preset != ModelRecipe().preset:
        preset = model_config(given.preset, {"vocab_size": config.vocab_size, "max_seq_len": config.max_seq_len})
        asked = {name: value or getattr(preset, name) for name, value in asked.items()}
    for name, value in asked.items():
        if value is not None and value != getattr(config, name):
            raise ConfigError(
                f"model.{name}={value} is not what the parent has ({name}={getattr(config, name)}): a child has its "
                "parent's sizes.",
                hint="leave the sizes out of the recipe's model section",
            )


def _check_context(max_seq_len: int, recipe: Recipe, config: ModelConfig) -> None:
    can_grow = config.position != "learned"
    if max_seq_len < config.max_seq_len or (max_seq_len > config.max_seq_len and not can_grow):
        rule = "it may be longer, not shorter" if can_grow else "its positions are a table of that length"
        raise ConfigError(
            f"model.max_seq_len={max_seq_len} is not possible: the parent has max_seq_len={config.max_seq_len}, and "
            f"{rule}.",
            hint="leave model.max_seq_len out",
        )
    if recipe.train.seq_len > max_seq_len:
        wider = f"or set model.max_seq_len={recipe.train.seq_len}" if can_grow else "for its positions are a table"
        raise ConfigError(
            f"train.seq_len={recipe.train.seq_len} is more than the parent can address (max_seq_len="
            f"{config.max_seq_len}).",
            hint=f"set train.seq_len={config.max_seq_len}, {wider}",
        )
