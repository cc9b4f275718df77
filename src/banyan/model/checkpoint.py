"""A model on disk: a Hugging Face directory, with what is Banyan's own beside it.

config.json, generation_config.json, model.safetensors   what transformers, vLLM and llama.cpp read: words only
extras.safetensors                                       picture rows, picture cells, task heads (if there are any)
model.json                                               our config and heads, from which the model is built again
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from banyan.core.config import config_from_mapping, config_to_mapping
from banyan.core.errors import BanyanError, CheckpointError, ConfigError, FileError
from banyan.core.files import atomic_write_json, read_json
from banyan.core.model_directory import CONFIG_FILE, WEIGHTS_FILE
from banyan.core.types import MAX_NGRAM_BUCKETS, HeadKind, HeadSpec, Pooling
from banyan.model.config import ModelConfig
from banyan.model.hugging_face_config import hugging_face_config, stock_architecture
from banyan.model.on_disk_names import Layout, disk_layout, join_parameter, split_parameter
from banyan.model.tensor_file import open_tensors
from banyan.model.tensor_source import TensorInfo, TensorSource
from banyan.model.tensor_writer import write_tensors
from banyan.model.transformer import Transformer

MODEL_FILE = "model.json"
GENERATION_CONFIG_FILE = "generation_config.json"
_VERSION = 1
_MAX_POSITIONS = 1 << 24
_MAX_LOOKBACK = 1024  # each token back is a tensor of its own


def save_model(
    model: Transformer,
    directory: Path,
    *,
    bos_id: int | None = None,
    eos_ids: Sequence[int] = (),
    pad_id: int | None = None,
) -> None:
    """Write a model's files into a directory; the manifest is the caller's.

    The special ids are for other tools, which cannot know them otherwise; the first of `eos_ids` is the usual one.
    Raises: SpaceError if the disk is full or the place cannot be written; ConfigError if the model carries adapters.
    """
    if model.adapters:
        raise ConfigError(
            f"the model carries the adapter {next(iter(model.adapters))}, and its own files have no place for one.",
            hint="merge it and take it out, or save the adapter by itself",
        )
    layout = _layout(model)
    for file in sorted({part.file for parts in layout.values() for part in parts}):
        write_tensors(directory, file, _ModelTensors(model, layout, file=file))
    dtype = str(model.dtype).removeprefix("torch.")
    eos_id = eos_ids[0] if eos_ids else None
    foreign = hugging_face_config(model.config, dtype=dtype, bos_id=bos_id, eos_id=eos_id, pad_id=pad_id)
    atomic_write_json(directory / CONFIG_FILE, foreign)
    generation = {"bos_token_id": bos_id, "eos_token_id": list(eos_ids) or None, "pad_token_id": pad_id}
    atomic_write_json(directory / GENERATION_CONFIG_FILE, {k: v for k, v in generation.items() if v is not None})
    write_model_description(directory, model.config, model.head_specs)


def load_model(
    directory: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Transformer:
    """Build the model that `save_model` wrote, ready to answer.

    Raises: FileError if there is no such directory; CheckpointError if a file is missing, truncated, corrupt, not a
    safetensors file, or holds other tensors than the config says.
    """
    if not directory.is_dir():
        raise FileError(f"{directory} is not a model directory.", hint=f"give a folder that holds {MODEL_FILE}")
    config, heads = read_model_description(directory)
    num_tensors = len(open_tensors(directory, WEIGHTS_FILE))
    model = empty_model(config, heads, num_tensors=num_tensors, place=str(directory / MODEL_FILE))
    weights = _read_weights(directory, _layout(model))
    # One at a time: the weights as they lie on disk are never in memory all together.
    model.load_state_dict({name: weight.to(device=device, dtype=dtype) for name, weight in weights}, assign=True)
    return model.requires_grad_(True).eval()


def empty_model(config: ModelConfig, heads: Sequence[HeadSpec], *, num_tensors: int, place: str) -> Transformer:
    """Build a model without its weights, for files that hold so many tensors.

    Raises: CheckpointError if the config asks for more than they can hold: building it would fill the memory.
    """
    problem = ""
    if config.num_layers > num_tensors:
        problem = f"num_layers={config.num_layers}, and the weights are {num_tensors} tensors"
    elif config.max_seq_len > _MAX_POSITIONS:
        problem = f"max_seq_len={config.max_seq_len}; at most {_MAX_POSITIONS} are believed"
    elif config.lookback > _MAX_LOOKBACK:
        problem = f"lookback={config.lookback}; at most {_MAX_LOOKBACK} are believed"
    try:
        if not problem:
            with torch.device("meta"):
                return Transformer(config, heads)
    except (BanyanError, RuntimeError, OverflowError, TypeError) as error:  # sizes beyond what torch can count
        problem = _one_line(error)[:200]
    raise CheckpointError(f"{place} describes a model that cannot be: {problem}.")


def stored_shapes(model: Transformer) -> dict[str, tuple[int, ...]]:
    """Return the tensors that a directory holds for a model, by their names there; task heads and pictures left out."""
    parts = [part for group in _layout(model).values() for part in group]
    return {part.name: part.shape for part in parts if part.file == WEIGHTS_FILE}


def read_model_description(directory: Path) -> tuple[ModelConfig, tuple[HeadSpec, ...]]:
    """Read a model's config and heads without its weights.

    Raises: CheckpointError if they are missing or cannot be used.
    """
    path = directory / MODEL_FILE
    try:
        description = read_json(path)
        if description["version"] != _VERSION:
            raise CheckpointError(
                f"version {description['version']} was written, this Banyan reads version {_VERSION}."
            )
        config = config_from_mapping(ModelConfig, description["config"], source=str(path))
        return config, tuple(_head_spec(head) for head in description["heads"])
    except (BanyanError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a model description: {_one_line(error)}") from error


def write_model_description(directory: Path, config: ModelConfig, heads: Sequence[HeadSpec]) -> None:
    """Write what `read_model_description` reads."""
    listed = [
        {
            "name": spec.name,
            "kind": spec.kind.value,
            "labels": list(spec.labels),
            "pooling": spec.pooling,
            "ngram_buckets": spec.ngram_buckets,
            "reads_matches": spec.reads_matches,
        }
        for spec in heads
    ]
    description = {"version": _VERSION, "config": config_to_mapping(config), "heads": listed}
    atomic_write_json(directory / MODEL_FILE, description)


def _head_spec(head: Mapping[str, Any]) -> HeadSpec:
    pooling: Pooling = {"pooling": "last", **head}["pooling"]  # models of version 0.1 do not say
    if pooling not in get_args(Pooling):
        raise CheckpointError(f"head {head['name']!r} reads {pooling!r}; known are {', '.join(get_args(Pooling))}.")
    num_buckets = head.get("ngram_buckets", 0)
    if type(num_buckets) is not int or not 0 <= num_buckets <= MAX_NGRAM_BUCKETS:
        raise CheckpointError(f"head {head['name']!r} has ngram_buckets={num_buckets!r}; 0 to {MAX_NGRAM_BUCKETS}.")
    reads_matches = head.get("reads_matches", False)
    if type(reads_matches) is not bool or (reads_matches and head["kind"] != HeadKind.SPAN.value):
        raise CheckpointError(
            f"head {head['name']!r} has reads_matches={reads_matches!r}; true or false, of a span head."
        )
    return HeadSpec(
        name=head["name"],
        kind=HeadKind(head["kind"]),
        labels=tuple(head["labels"]),
        pooling=pooling,
        ngram_buckets=num_buckets,
        reads_matches=reads_matches,
    )


def _one_line(error: Exception) -> str:
    text = f"{error} is missing." if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())


def _layout(model: Transformer) -> Layout:
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    architecture = stock_architecture(model.config)
    return disk_layout(shapes, config=model.config, heads=model.head_specs, architecture=architecture)


class _ModelTensors(TensorSource):
    """The tensors that one file of a model's directory holds, cut from the parameters when they are asked for."""

    def __init__(self, model: Transformer, layout: Layout, *, file: str) -> None:
        self._file = file
        self._parameters = dict(model.named_parameters())
        self._layout = layout
        self._owner = {part.name: name for name, parts in layout.items() for part in parts if part.file == file}

    def __getitem__(self, name: str) -> Tensor:
        owner = self._owner[name]
        return split_parameter(self._parameters[owner], self._layout[owner])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._owner))

    def __len__(self) -> int:
        return len(self._owner)

    def place(self, name: str) -> str:
        """Return the name of the file."""
        return self._file

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format of a tensor."""
        return TensorInfo.of(self[name])


def _read_weights(directory: Path, layout: Layout) -> Iterator[tuple[str, Tensor]]:
    parts = [part for group in layout.values() for part in group]
    names = {file: {part.name for part in parts if part.file == file} for file in {part.file for part in parts}}
    files = {file: open_tensors(directory, file, expected=expected) for file, expected in names.items()}
    for name, group in layout.items():
        yield name, join_parameter((files[part.file].read(part.name, shape=part.shape) for part in group), group)
