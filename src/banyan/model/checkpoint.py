"""A model on disk: a Hugging Face directory, with what is Banyan's own beside it.

config.json, generation_config.json, model.safetensors   what transformers, vLLM and llama.cpp read: words only
extras.safetensors                                       picture rows, picture cells, task heads (if there are any)
model.json                                               our config and heads, from which the model is built again
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from banyan.core.config import config_from_mapping, config_to_mapping
from banyan.core.errors import BanyanError, CheckpointError, FileError
from banyan.core.files import atomic_write_bytes, atomic_write_json, read_json
from banyan.core.model_directory import CONFIG_FILE, WEIGHTS_FILE
from banyan.core.types import HeadKind, HeadSpec
from banyan.model.config import ModelConfig
from banyan.model.hugging_face_config import hugging_face_config, stock_architecture
from banyan.model.on_disk_names import Layout, disk_layout, join_parameter, split_parameter
from banyan.model.tensor_file import TensorFile
from banyan.model.transformer import Transformer

MODEL_FILE = "model.json"
GENERATION_CONFIG_FILE = "generation_config.json"
_VERSION = 1
_MAX_POSITIONS = 1 << 24


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
    Raises: SpaceError if the disk is full or the place cannot be written.
    """
    for file, tensors in _tensors_by_file(model).items():
        # `format` tells transformers that the tensors are PyTorch's.
        atomic_write_bytes(directory / file, save(tensors, metadata={"format": "pt"}))
    dtype = str(model.dtype).removeprefix("torch.")
    eos_id = eos_ids[0] if eos_ids else None
    foreign = hugging_face_config(model.config, dtype=dtype, bos_id=bos_id, eos_id=eos_id, pad_id=pad_id)
    atomic_write_json(directory / CONFIG_FILE, foreign)
    generation = {"bos_token_id": bos_id, "eos_token_id": list(eos_ids) or None, "pad_token_id": pad_id}
    atomic_write_json(directory / GENERATION_CONFIG_FILE, {k: v for k, v in generation.items() if v is not None})
    atomic_write_json(directory / MODEL_FILE, _description(model))


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
    model = _empty_model(directory, config, heads)
    weights = _read_weights(directory, _layout(model))
    model.load_state_dict(
        {name: weight.to(device=device, dtype=dtype) for name, weight in weights.items()}, assign=True
    )
    return model.requires_grad_(True).eval()


def _empty_model(directory: Path, config: ModelConfig, heads: Sequence[HeadSpec]) -> Transformer:
    """Build a model without its weights.

    Raises: CheckpointError if the config asks for more than the files can hold: building it would fill the memory.
    """
    num_tensors = len(TensorFile(directory / WEIGHTS_FILE))
    problem = ""
    if config.num_layers > num_tensors:
        problem = f"num_layers={config.num_layers}, and {WEIGHTS_FILE} holds {num_tensors} tensors"
    elif config.max_seq_len > _MAX_POSITIONS:
        problem = f"max_seq_len={config.max_seq_len}; at most {_MAX_POSITIONS} are believed"
    try:
        if not problem:
            with torch.device("meta"):
                return Transformer(config, heads)
    except (BanyanError, RuntimeError, OverflowError, TypeError) as error:  # sizes beyond what torch can count
        problem = _one_line(error)[:200]
    raise CheckpointError(f"{directory / MODEL_FILE} describes a model that cannot be: {problem}.")


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


def _description(model: Transformer) -> dict[str, Any]:
    heads = [{"name": spec.name, "kind": spec.kind.value, "labels": list(spec.labels)} for spec in model.head_specs]
    return {"version": _VERSION, "config": config_to_mapping(model.config), "heads": heads}


def _head_spec(head: Mapping[str, Any]) -> HeadSpec:
    return HeadSpec(name=head["name"], kind=HeadKind(head["kind"]), labels=tuple(head["labels"]))


def _one_line(error: Exception) -> str:
    text = f"{error} is missing." if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())


def _layout(model: Transformer) -> Layout:
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    architecture = stock_architecture(model.config)
    return disk_layout(shapes, config=model.config, heads=model.head_specs, architecture=architecture)


def _tensors_by_file(model: Transformer) -> dict[str, dict[str, Tensor]]:
    files: dict[str, dict[str, Tensor]] = {}
    parameters = dict(model.named_parameters())
    for name, parts in _layout(model).items():
        tensors = split_parameter(parameters[name], parts)
        for part in parts:
            files.setdefault(part.file, {})[part.name] = tensors[part.name].cpu()
    return files


def _read_weights(directory: Path, layout: Layout) -> dict[str, Tensor]:
    parts = [part for group in layout.values() for part in group]
    names = {file: {part.name for part in parts if part.file == file} for file in {part.file for part in parts}}
    files = {file: TensorFile(directory / file, expected=expected) for file, expected in names.items()}
    return {
        name: join_parameter((files[part.file].read(part.name, shape=part.shape) for part in group), group)
        for name, group in layout.items()
    }
