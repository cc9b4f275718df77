"""What a checkpoint holds beyond the model: the optimizer's memory and how far the run has come."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from banyan.core.errors import CheckpointError, FileError
from banyan.core.files import read_json
from banyan.model.checkpoint import load_model, save_model
from banyan.model.transformer import Transformer
from banyan.train.optimizer import ModelOptimizer

OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
_VERSION = 1
_ADDED_LATER: Mapping[str, Any] = {"learning_rate_scale": 1.0, "health": {}}  # what older checkpoints lack


@dataclass(kw_only=True, slots=True)
class Progress:
    """How far a run has come. The one object of the trainer that changes; all of it is in `state.json`."""

    step: int = 0  # updates done, skipped ones included
    seconds: float = 0.0  # of training
    num_tokens: int = 0
    evaluated_step: int = 0  # last step that was evaluated
    best_step: int | None = None
    best_score: float | None = None
    evaluations_without_gain: int = 0
    skipped_steps: list[int] = field(default_factory=list)  # whose update was not made
    learning_rate_scale: float = 1.0  # what remedies have left of the planned learning rate
    health: dict[str, Any] = field(default_factory=dict)  # what the health watch remembers


class WeightFiles(Protocol):
    """How a kind of model is written into a checkpoint, and read back."""

    def save(self, model: Any, directory: Path) -> None:
        """Write the model's files into a directory."""

    def load(self, model: Any, directory: Path) -> None:
        """Give a model of the same config the weights of a directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerFiles:
    """A Transformer's files: a Hugging Face directory. The special ids are for the tools that read it."""

    bos_id: int | None = None
    eos_ids: Sequence[int] = ()
    pad_id: int | None = None

    def save(self, model: Transformer, directory: Path) -> None:
        """Write the model's files into a directory."""
        save_model(model, directory, bos_id=self.bos_id, eos_ids=self.eos_ids, pad_id=self.pad_id)

    def load(self, model: Transformer, directory: Path) -> None:
        """Give a model of the same config the weights of a directory.

        Raises: CheckpointError if the config is another one, or a file cannot be used.
        """
        saved = load_model(directory, device=model.device, dtype=model.dtype)
        if (saved.config, saved.head_specs) != (model.config, model.head_specs):
            raise CheckpointError(
                f"{directory} holds a model of another shape than this recipe asks for.",
                hint="resume with the recipe that is saved in the run directory",
            )
        model.load_state_dict(saved.state_dict())


def save_state(
    directory: Path,
    *,
    model: nn.Module,
    weight_files: WeightFiles,
    optimizer: ModelOptimizer,
    progress: Progress,
    loader_state: Mapping[str, Any],
    settings: Mapping[str, Any],
    sidecars: Mapping[str, bytes],
) -> None:
    """Write everything from which a run can go on, and the sidecars that make the directory a whole model.

    The directory is one that appears, flushed to disk, only when all is written.
    """
    weight_files.save(model, directory)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in optimizer.tensors().items()}
    (directory / OPTIMIZER_FILE).write_bytes(save(tensors))
    state = {"version": _VERSION, **dataclasses.asdict(progress), "loader": loader_state, "settings": settings}
    (directory / STATE_FILE).write_text(json.dumps(state, ensure_ascii=False, indent=2) + "\n", "utf-8")
    for name, content in sidecars.items():
        (directory / name).write_bytes(content)


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoredState:
    """What a checkpoint knew."""

    progress: Progress
    loader_state: Mapping[str, Any]
    settings: Mapping[str, Any]


def restore_state(
    directory: Path, *, model: nn.Module, weight_files: WeightFiles, optimizer: ModelOptimizer
) -> RestoredState:
    """Give model and optimizer the contents of a checkpoint and return the rest of it.

    Raises: CheckpointError if the checkpoint is of another version, or does not fit the model.
    """
    try:
        state = read_json(directory / STATE_FILE)
        if state["version"] != _VERSION:
            raise CheckpointError(
                f"{directory / STATE_FILE} has version {state['version']}; this program reads {_VERSION}."
            )
        progress = Progress(**{f.name: {**_ADDED_LATER, **state}[f.name] for f in dataclasses.fields(Progress)})
        restored = RestoredState(progress=progress, loader_state=state["loader"], settings=state["settings"])
        tensors = load_file(directory / OPTIMIZER_FILE)
    except (FileError, KeyError, TypeError, SafetensorError, FileNotFoundError) as error:
        raise CheckpointError(f"{directory} cannot be resumed: {error} is missing or unreadable.") from error
    weight_files.load(model, directory)
    optimizer.load_tensors(tensors)
    return restored
