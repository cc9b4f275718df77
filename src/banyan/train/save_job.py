"""One checkpoint to write: everything in it as it was when the save was asked for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from banyan.core.errors import SpaceError
from banyan.core.files import as_write_error
from banyan.model.adapters import saved_weights
from banyan.train.division import Division
from banyan.train.optimizer import ModelOptimizer
from banyan.train.state import Progress, WeightFiles, frozen_copy, frozen_tensors, save_state

SHARDS = "shards"  # folder of a checkpoint whose tensors the ranks have written in pieces
_OPTIMIZER_FACTOR = 2  # bytes of AdamW's memory for a byte of weights; no optimizer here has more


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedParts:
    """All that a checkpoint is made of, beside the progress and the place in the data."""

    model: nn.Module
    optimizer: ModelOptimizer
    division: Division  # how both lie on the ranks
    weight_files: WeightFiles
    settings: Mapping[str, Any]  # the configs of the run, as plain values
    sidecars: Mapping[str, bytes]  # files that make a checkpoint a whole model directory

    @property
    def checkpoint_bytes(self) -> int:
        """How large a checkpoint is at most."""
        own = saved_weights(self.model).values()
        weights = sum(parameter.numel() * parameter.element_size() for parameter in own)
        num_copies = 1 + _OPTIMIZER_FACTOR + self.optimizer.is_averaging
        return num_copies * weights + sum(map(len, self.sidecars.values()))


@dataclass(frozen=True, kw_only=True, slots=True)
class SaveJob:
    """What `take_job` put aside."""

    model: nn.Module
    optimizer_tensors: Mapping[str, Tensor]
    progress: Progress
    loader_state: Mapping[str, Any]
    abandoned: frozenset[int]  # steps whose checkpoints the run has gone back from
    shards: Future[None] | None  # pieces that the ranks are writing; None: the tensors above are all


def take_job(
    parts: SavedParts,
    progress: Progress,
    *,
    loader_state: Mapping[str, Any],
    abandoned: frozenset[int],
    shards: Path,
    is_copy: bool,
) -> SaveJob:
    """Put aside what is to be saved; collective. With `is_copy` training may go on before it is written."""
    pieces = parts.division.begin_shards(shards)
    whole = parts.division.gather()
    tensors = whole.optimizer.tensors()
    return SaveJob(
        model=frozen_copy(whole.model) if is_copy else whole.model,
        optimizer_tensors=frozen_tensors(tensors) if is_copy else tensors,
        progress=copy.deepcopy(progress),
        loader_state=copy.deepcopy(loader_state),
        abandoned=abandoned,
        shards=pieces,
    )


def write_job(job: SaveJob, parts: SavedParts, directory: Path, *, shards: Path) -> None:
    """Fill the directory of a new checkpoint.

    Raises: SpaceError.
    """
    if job.shards is not None:
        _take_in(job.shards, shards, directory / SHARDS)
    save_state(
        directory,
        model=job.model,
        weight_files=parts.weight_files,
        optimizer_tensors=job.optimizer_tensors,
        progress=job.progress,
        loader_state=job.loader_state,
        settings=parts.settings,
        sidecars=parts.sidecars,
    )


def _take_in(writing: Future[None], written: Path, path: Path) -> None:
    """Move the pieces of all ranks into a checkpoint, once they are written."""
    try:
        writing.result()
        written.rename(path)
    except OSError as error:
        raise error if isinstance(error, SpaceError) else as_write_error(error, path) from error
