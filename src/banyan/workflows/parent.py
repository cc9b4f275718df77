"""The model a run begins with: where it lies, what its child takes over, and how the child differs from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import CheckpointError, ConfigError
from banyan.core.files import sha256_of
from banyan.core.model_directory import MANIFEST, name_of, verify_manifest
from banyan.core.types import HeadSpec
from banyan.model.checkpoint import load_model, read_model_description
from banyan.model.config import ModelConfig
from banyan.model.presets import model_config
from banyan.model.transformer import Transformer
from banyan.runtime.loading import ModelParts, read_parts
from banyan.tasks.base import Task
from banyan.tasks.config import TaskConfig
from banyan.train.checkpoints import CheckpointFolder
from banyan.workflows.recipe import ModelRecipe, Recipe

_SIZES = ("num_layers", "num_heads", "num_kv_heads", "head_dim", "embed_dim", "ffn_dim")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """Everything about a model that a run begins with; its weights are read when they are asked for."""

    name: str  # what banyan.json of the child says of it
    sha256: str  # of its manifest
    parts: ModelParts
    config: ModelConfig
    heads: tuple[HeadSpec, ...]

    @property
    def tasks(self) -> dict[str, Task[Any]]:
        """Its tasks by name, in the order of their task tokens."""
        return dict(self.parts.tasks)

    def read_weights(self) -> Transformer:
        """Return the parent itself.

        Raises: CheckpointError if its weights cannot be read.
        """
        return load_model(self.parts.directory)


def settle_parent(recipe: Recipe) -> Recipe:
    """Return the recipe with its parent's place absolute and the hash of its manifest filled in.

    Raises: FileError if it is not there; CheckpointError if it is not whole, or not the one the recipe was written for.
    """
    transfer = recipe.transfer
    if transfer.parent is None:
        return recipe
    directory = find_parent(Path(transfer.parent))
    verify_manifest(directory)
    found = sha256_of(directory / MANIFEST)
    if transfer.parent_sha256 not in (None, found):
        raise CheckpointError(
            f"transfer.parent={directory} is not the model this recipe was written for: its manifest has sha256 "
            f"{found[:16]}…, transfer.parent_sha256 is {str(transfer.parent_sha256)[:16]}….",
            hint="bring the earlier model back, or leave transfer.parent_sha256 out",
        )
    settled = dataclasses.replace(transfer, parent=str(directory), parent_sha256=found)
    return dataclasses.replace(recipe, transfer=settled)


def find_parent(path: Path) -> Path:
    """Return the absolute folder of a model; a run means its best checkpoint."""
    path = path.absolute()
    best = path / "best"
    return best if not (path / MANIFEST).exists() and best.is_dir() else path


def open_parent(recipe: Recipe, run_directory: Path) -> Parent | None:
    """Return what a run begins with, or goes on from: once it has saved, that is its own newest checkpoint.

    So a run that is resumed does not need the parent any more.
    Raises: FileError, CheckpointError if neither can be used.
    """
    if recipe.transfer.parent is None:
        return None
    own = newest_checkpoint(run_directory)
    directory = own or Path(recipe.transfer.parent)
    parts = read_parts(directory)
    config, heads = read_model_description(directory)
    return Parent(
        name=name_of(Path(recipe.transfer.parent)),
        sha256=recipe.transfer.parent_sha256 or parts.sha256,
        parts=parts,
        config=config,
        heads=heads,
    )


def newest_checkpoint(run_directory: Path) -> Path | None:
    """Return the newest checkpoint of a run whose files are as they were written, if there is one."""
    folder = CheckpointFolder(run_directory)
    for step in reversed(folder.steps()):
        try:
            verify_manifest(folder.path(step))
        except CheckpointError:
            continue
        return folder.path(step)
    return None


def child_tasks(parent: Parent, tasks: Sequence[Task[Any]], *, keep_tasks: bool) -> tuple[Task[Any], ...]:
    """Return all tasks of a child in the order of their task tokens: the parent's in their places, then new ones.

    Raises: ConfigError if a task has the name of another task of the parent.
    """
    named = {task.name: task for task in tasks}
    for name, task in named.items():
        if name in parent.tasks:
            _check_same_task(parent.tasks[name], task)
    inherited = [named.get(name, task) for name, task in parent.tasks.items() if keep_tasks or name in named]
    return (*inherited, *(task for name, task in named.items() if name not in parent.tasks))


def _check_same_task(before: Task[Any], now: Task[Any]) -> None:
    if before.kind != now.kind or before.head != now.head:
        raise ConfigError(
            f"task {now.name} of the recipe is not the parent's task of that name: {_in_short(now)}, there "
            f"{_in_short(before)}.",
            hint="give it a name of its own, or take the parent's labels",
        )


def _in_short(task: Task[Any]) -> str:
    labels = "" if task.head is None else f" with the outputs {', '.join(task.head.labels) or task.head.num_outputs}"
    return f"{task.kind}{labels}"


def with_inherited_labels(config: TaskConfig, parent: Parent | None) -> TaskConfig:
    """Return a task's config with the labels its parent has for it, where the recipe does not name any."""
    before = None if parent is None else parent.tasks.get(config.name)
    labels = getattr(before, "labels", ())
    if before is None or before.kind != config.kind or config.labels or not labels:
        return config
    return dataclasses.replace(config, labels=tuple(labels))


def child_config(recipe: Recipe, parent: Parent, *, vocab_size: int, num_image_codes: int) -> ModelConfig:
    """Return the sizes of a child: its parent's, with the context and dropout that the recipe asks for.

    Raises: ConfigError if the recipe gives other sizes, or a context that the parent cannot have.
    """
    _check_sizes(recipe.model, parent.config)
    max_seq_len = recipe.model.max_seq_len or parent.config.max_seq_len
    _check_context(max_seq_len, recipe, parent.config)
    changes: dict[str, Any] = {"max_seq_len": max_seq_len, "vocab_size": vocab_size, "num_image_codes": num_image_codes}
    if recipe.model.dropout is not None:
        changes["dropout"] = recipe.model.dropout
    return dataclasses.replace(parent.config, **changes)


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
