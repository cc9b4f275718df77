"""A run that teaches an adapter: the parent's weights stay where they are, and a checkpoint holds what is new alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from banyan.core.errors import ConfigError
from banyan.model.config import ModelConfig
from banyan.model.lora import LoraConfig, add_adapters
from banyan.model.transformer import Transformer
from banyan.runtime.adapters import adapter_origin
from banyan.runtime.description import AdapterOrigin
from banyan.train.checkpoints import CheckpointFolder
from banyan.train.state import AdapterFiles
from banyan.workflows.material import Material
from banyan.workflows.recipe import Recipe


def add_adapter(recipe: Recipe, model: Transformer, lora: LoraConfig, *, parent: ModelConfig) -> None:
    """Let an adapter and the task heads learn, and nothing else; in mode `head`, one in the last blocks alone.

    Raises: ConfigError if the model has no matrix that a target names, or is no longer what its parent is.
    """
    if dataclasses.replace(model.config, dropout=parent.dropout) != parent:
        raise ConfigError(
            f"transfer.lora needs the parent as it is: model.max_seq_len={model.config.max_seq_len} and "
            f"{model.config.vocab_size} ids, and the parent has {parent.max_seq_len} and {parent.vocab_size}.",
            hint="leave these out, or teach the model itself first",
        )
    if recipe.transfer.mode == "head":
        lora = dataclasses.replace(lora, last_blocks=recipe.transfer.last_blocks)
    add_adapters(model, lora, generator=torch.Generator().manual_seed(recipe.seed))


def adapter_files(recipe: Recipe) -> AdapterFiles | None:
    """Return how the checkpoints of a run that teaches an adapter are written and read; None for any other run."""
    lora, parent = recipe.transfer.lora, recipe.transfer.parent
    return None if lora is None or parent is None else AdapterFiles(name=lora.name, base=Path(parent))


def origin_of_adapter(recipe: Recipe, material: Material, run_directory: Path) -> AdapterOrigin | None:
    """Return what the checkpoints of a run that teaches an adapter say of its model; None for any other run."""
    lora, parent = recipe.transfer.lora, recipe.transfer.parent
    if lora is None or parent is None or material.parent is None:
        return None
    return adapter_origin(
        lora.name,
        directory=CheckpointFolder(run_directory).path(0),  # as deep as every other step's
        base=Path(parent),
        base_sha256=material.parent.sha256,
    )
