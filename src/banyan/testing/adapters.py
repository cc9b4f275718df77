"""Adapters for tests: random ones, so that whoever goes through one answers differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from banyan.core.files import sha256_of
from banyan.core.model_directory import MANIFEST, new_model_directory
from banyan.core.types import HeadSpec
from banyan.model.checkpoint import load_model
from banyan.model.lora import LoraConfig, attach_adapter, low_rank_pairs
from banyan.model.peft_format import save_adapter
from banyan.model.transformer import Transformer
from banyan.runtime.adapters import adapter_origin
from banyan.runtime.description import read_description, write_description
from banyan.tasks.base import Task


def give_random_adapter(
    model: Transformer,
    name: str,
    *,
    seed: int = 0,
    rank: int = 4,
    targets: Sequence[str] = ("all",),
    heads: Sequence[HeadSpec] | None = None,
    std: float = 0.1,
) -> None:
    """Attach an adapter in which every weight is random; nothing is active."""
    attach_adapter(model, LoraConfig(rank=rank, targets=tuple(targets), name=name), heads=heads)
    generator = torch.Generator().manual_seed(seed)
    own = [*low_rank_pairs(model, name).values(), *([] if heads is None else [model.heads_under(name)])]
    with torch.no_grad():
        for parameter in (parameter for module in own for parameter in module.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


def save_random_adapter(
    directory: Path,
    base: Path,
    *,
    tasks: Sequence[Task[Any]],
    seed: int = 0,
    rank: int = 4,
    name: str = "default",
) -> Path:
    """Write a random adapter for a model directory, as a run leaves it: it was taught these tasks."""
    model = load_model(base)
    give_random_adapter(
        model, name, seed=seed, rank=rank, heads=[task.head for task in tasks if task.head is not None], std=0.3
    )
    origin = adapter_origin(name, directory=directory, base=base, base_sha256=sha256_of(base / MANIFEST))
    with new_model_directory(directory) as temporary:
        save_adapter(model, name, temporary, base=str(base))
        taught = tuple(task.spec() for task in tasks)
        write_description(temporary, replace(read_description(base), tasks=taught, adapter=origin))
    return directory
