"""From an opened foreign model to the files of a model directory; its tensors pass through one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from banyan.core.files import atomic_write_json
from banyan.core.model_directory import CONFIG_FILE, WEIGHTS_FILE
from banyan.model.checkpoint import GENERATION_CONFIG_FILE, write_model_description
from banyan.model.hugging_face_config import hugging_face_config
from banyan.model.tensor_source import FLOATS
from banyan.model.tensor_writer import write_tensors
from banyan.transfer.foreign_config import ForeignConfig
from banyan.transfer.foreign_model import ForeignModel


def write_model_files(
    foreign: ForeignModel, directory: Path, *, on_progress: Callable[[int], None] | None = None
) -> str:
    """Write weights (each in its own number format) and configs into a directory; the manifest is the caller's.

    `on_progress` hears how many bytes of weights are written so far. Returns the SHA-256 of the weights.
    Raises: SpaceError if the disk is full; CheckpointError if a tensor turns out to be unreadable.
    """
    sha256 = write_tensors(directory, WEIGHTS_FILE, foreign.tensors, on_progress=on_progress)
    config = foreign.config
    dtype = str(FLOATS[foreign.dtypes[0]]).removeprefix("torch.")
    fields = hugging_face_config(
        config.model, dtype=dtype, bos_id=config.bos_id, eos_id=_one_or_all(config.eos_ids), pad_id=config.pad_id
    )
    atomic_write_json(directory / CONFIG_FILE, fields)
    generation = _generation(config) if foreign.generation is None else foreign.generation
    atomic_write_json(directory / GENERATION_CONFIG_FILE, generation)
    write_model_description(directory, config.model, ())
    return sha256


def _one_or_all(ids: tuple[int, ...]) -> int | list[int] | None:
    if len(ids) > 1:
        return list(ids)
    return ids[0] if ids else None


def _generation(config: ForeignConfig) -> Mapping[str, Any]:
    ids = {
        "bos_token_id": config.bos_id,
        "eos_token_id": _one_or_all(config.eos_ids),
        "pad_token_id": config.pad_id,
    }
    return {name: value for name, value in ids.items() if value is not None}
