"""What a checkpoint holds beyond the model: the optimizer's memory and how far the run has come."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save
from torch import Tensor, nn

from banyan import __version__
from banyan.core.config import config_from_mapping
from banyan.core.errors import BanyanError, CheckpointError
from banyan.core.files import read_json
from banyan.model.adapters import saved_weights
from banyan.model.checkpoint import load_model, save_model
from banyan.model.peft_format import restore_adapter, save_adapter
from banyan.model.tensor_file import TensorFile
from banyan.model.transformer import Transformer
from banyan.train.division import OptimizerMemory

OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
_VERSION = 1
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OTHER_VERSION = "resume with the version of Banyan that wrote it (code_version in state.json)"
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
    balance: dict[str, Any] = field(default_factory=dict)  # what the balance of the tasks has learned
    task_cosines: list[list[float | None]] = field(default_factory=list)  # of gradients, by task and task


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


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterFiles:
    """The files of an adapter and the task heads beside it; the model they belong to lies elsewhere, and stays."""

    name: str
    base: Path  # folder of the model, for the tools that look for it

    def save(self, model: Transformer, directory: Path) -> None:
        """Write the adapter's files into a directory."""
        save_adapter(model, self.name, directory, base=str(self.base))

    def load(self, model: Transformer, directory: Path) -> None:
        """Give a model's adapter and task heads the weights of a directory.

        Raises: CheckpointError if they are of another shape, or a file cannot be used.
        """
        restore_adapter(model, directory, name=self.name)


def frozen_copy(model: nn.Module) -> nn.Module:
    """Return the same module with copies of all its tensors in main memory, which no later step can change.

    What lies below an adapter is not copied: it never changes, and is not saved.
    """
    copies: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}  # tied weights stay tied
    with torch.no_grad():
        for parameter in saved_weights(model).values():
            copies[id(parameter)] = nn.Parameter(parameter.to("cpu", copy=True), requires_grad=False)
        for buffer in model.buffers():
            copies[id(buffer)] = buffer.to("cpu", copy=True)
    for module in model.modules():  # what listens to a layer belongs to the run, and may hold all of it
        copies |= {id(getattr(module, hooks)): OrderedDict() for hooks in _HOOKS}
    return copy.deepcopy(model, copies)


def frozen_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors in main memory."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def save_state(
    directory: Path,
    *,
    model: nn.Module,
    weight_files: WeightFiles,
    optimizer_tensors: Mapping[str, Tensor],
    progress: Progress,
    loader_state: Mapping[str, Any],
    settings: Mapping[str, Any],
    sidecars: Mapping[str, bytes],
) -> None:
    """Write everything from which a run can go on, and the sidecars that make the directory a whole model.

    The directory is one that appears, flushed to disk, only when all is written.
    """
    weight_files.save(model, directory)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in optimizer_tensors.items()}
    (directory / OPTIMIZER_FILE).write_bytes(save(tensors))
    state = {
        "version": _VERSION,
        "code_version": __version__,
        **dataclasses.asdict(progress),
        "loader": loader_state,
        "settings": settings,
    }
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
    directory: Path, *, model: nn.Module, weight_files: WeightFiles, optimizer: OptimizerMemory
) -> RestoredState:
    """Give model and optimizer the contents of a checkpoint and return the rest of it.

    Raises: CheckpointError if the checkpoint is of another version, damaged, or does not fit the model.
    """
    restored = read_state(directory / STATE_FILE)
    tensors = TensorFile(directory / OPTIMIZER_FILE)
    optimizer.load_tensors(tensors)
    weight_files.load(model, directory)
    optimizer.after_loading()
    return restored


@contextmanager
def readable_state() -> Iterator[None]:
    """Turn what goes wrong inside the block, while parts of a run take up their saved state, into one line.

    Raises: CheckpointError.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"{STATE_FILE} holds a state that cannot be taken up ({type(error).__name__}: {error}).",
            hint=_OTHER_VERSION,
        ) from error


def read_state(path: Path) -> RestoredState:
    """Read a state.json.

    Raises: CheckpointError if it is missing, of another version, or does not hold what it must.
    """
    try:
        state = read_json(path)
        if state["version"] != _VERSION:
            raise CheckpointError(f"version {state['version']} was written, this Banyan reads version {_VERSION}.")
        names = [f.name for f in dataclasses.fields(Progress)]
        progress = config_from_mapping(Progress, {name: state[name] for name in names if name in state})
        if progress.step < 0 or not all(isinstance(state[name], dict) for name in ("loader", "settings")):
            raise ValueError("a value is out of range")
    except (BanyanError, KeyError, TypeError, ValueError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise CheckpointError(f"{path} cannot be resumed: {problem}.", hint=_OTHER_VERSION) from error
    return RestoredState(progress=progress, loader_state=state["loader"], settings=state["settings"])
