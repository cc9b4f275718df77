"""An adapter on disk, as the PEFT library lays it out, with what is Banyan's own beside it.

adapter_config.json, adapter_model.safetensors   what `peft` reads: rank, scale, and two factors for each matrix
model.json, extras.safetensors                   the shape of the model it belongs to, and the task heads it brings

A folder with the first two alone, as `peft` writes it, is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from banyan.core.errors import CheckpointError, FileError
from banyan.core.files import atomic_write_bytes, atomic_write_json
from banyan.core.model_directory import EXTRAS_FILE
from banyan.core.types import HeadSpec
from banyan.model.adapters import PARTS, LoraConfig
from banyan.model.checkpoint import MODEL_FILE, read_model_description, write_model_description
from banyan.model.heads import TaskHeads
from banyan.model.lora import attach_adapter, block_of, layers_in_reach, layers_with_parts, low_rank_pairs
from banyan.model.low_rank import LayerPart
from banyan.model.matches import NUM_MATCH_FEATURES
from banyan.model.peft_config import ADAPTER_CONFIG_FILE, peft_config, read_peft_config
from banyan.model.tensor_file import TensorFile
from banyan.model.transformer import Transformer

ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
_PICKLE_FILE = "adapter_model.bin"
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAdapter:
    """What a folder says about an adapter before its weights are read."""

    config: LoraConfig
    heads: tuple[HeadSpec, ...] | None  # None: it brings none of its own


def save_adapter(model: Transformer, name: str, directory: Path, *, base: str) -> None:
    """Write one adapter of a model, and the task heads that answer under it; the manifest is the caller's.

    `base` is where the model lies, for the tools that look for it there.
    Raises: SpaceError if the disk is full or the place cannot be written.
    """
    tensors = dict(_stored_tensors(model, name))
    _write_tensors(directory / ADAPTER_WEIGHTS_FILE, tensors)
    parts = _adapted_parts(model, name)
    settings = peft_config(
        model.adapters[name].config,
        base=base,
        modules=_target_modules(model, set(parts)),
        blocks=sorted({block_of(path) for path in low_rank_pairs(model, name)}),
        is_transposed=any(part.is_transposed for same in parts.values() for part in same),
    )
    atomic_write_json(directory / ADAPTER_CONFIG_FILE, settings)
    heads = model.heads_under(name)
    write_model_description(directory, model.config, heads.specs)
    if heads.specs:
        _write_tensors(directory / EXTRAS_FILE, dict(_head_tensors(heads)))


def read_adapter(directory: Path, *, name: str, model: Transformer) -> StoredAdapter:
    """Read what an adapter is, and check that it fits a model; its weights are not read yet.

    Raises: CheckpointError if a file is missing, damaged, of another kind of adapter, or made for another model.
    """
    _check_files(directory)
    targets, last_blocks = _targets(directory, model)
    config = read_peft_config(directory / ADAPTER_CONFIG_FILE, targets=targets, last_blocks=last_blocks, name=name)
    return StoredAdapter(config=config, heads=_own_heads(directory, model))


def load_adapter(model: Transformer, directory: Path, *, name: str) -> StoredAdapter:
    """Give a model an adapter that lies in a folder, under a name of the caller's choice; nothing is active.

    Raises: as `read_adapter`; ConfigError if the model has an adapter of this name. The model is as before then.
    """
    stored = read_adapter(directory, name=name, model=model)
    weights = _read_factors(directory, model, stored.config)
    heads = None if stored.heads is None else _read_heads(directory, stored.heads, model)
    attach_adapter(model, stored.config, heads=stored.heads)
    _fill(model, name, weights)
    if heads is not None:
        model.heads_under(name).load_state_dict(heads)
    for pair in low_rank_pairs(model, name).values():
        pair.requires_grad_(False)
    return stored


def restore_adapter(model: Transformer, directory: Path, *, name: str) -> None:
    """Give an adapter that the model has, and its task heads, the weights of a folder.

    Raises: CheckpointError if they are those of another adapter, or a file cannot be used.
    """
    stored = read_adapter(directory, name=name, model=model)
    heads = model.heads_under(name)
    if (stored.heads or ()) != heads.specs or _shape_of(stored.config) != _shape_of(_config_as_read(model, name)):
        raise CheckpointError(
            f"{directory} holds an adapter of another shape than this recipe asks for.",
            hint="resume with the recipe that is saved in the run directory",
        )
    weights, head_weights = _read_factors(directory, model, stored.config), _read_heads(directory, heads.specs, model)
    _fill(model, name, weights)
    heads.load_state_dict(head_weights)


def _shape_of(config: LoraConfig) -> tuple[object, ...]:
    return config.rank, config.scale, set(config.targets), config.last_blocks


def _config_as_read(model: Transformer, name: str) -> LoraConfig:
    """Return an adapter's config with its groups spelled out, as one that comes from disk has it."""
    config = model.adapters[name].config
    last_blocks = config.last_blocks % model.config.num_layers  # all of them are 0
    return replace(config, targets=tuple(_adapted_parts(model, name)), last_blocks=last_blocks)


@torch.no_grad()
def _fill(model: Transformer, name: str, weights: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    for path, pair in low_rank_pairs(model, name).items():
        down, up = weights[path]
        pair.down.copy_(down)
        pair.up.copy_(up)


def _adapted_parts(model: Transformer, name: str) -> dict[str, list[LayerPart]]:
    """Return the parts of all layers that an adapter changes, by their name in a block."""
    found: dict[str, list[LayerPart]] = {}
    for pair in low_rank_pairs(model, name).values():
        for part in pair.adapted_parts:
            found.setdefault(part.name, []).append(part)
    return found


def _stored_tensors(model: Transformer, name: str) -> Iterator[tuple[str, Tensor]]:
    for pair in low_rank_pairs(model, name).values():
        for part, down, up in zip(pair.adapted_parts, pair.down_factors(), pair.up_factors(), strict=True):
            yield _key(part, "A"), down
            yield _key(part, "B"), up


def _key(part: LayerPart, factor: str) -> str:
    return f"base_model.model.{part.stored_name}.lora_{factor}.weight"


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    owned = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    atomic_write_bytes(path, save(owned, metadata={"format": "pt"}))  # transformers asks for the format


def _target_modules(model: Transformer, adapted: set[str]) -> list[str]:
    """Return what the adapted modules are called, as briefly as tells them from the others."""
    others: set[str] = set()
    chosen: set[str] = set()
    for parts in layers_with_parts(model).values():
        for part in parts:
            (chosen if part.name in adapted else others).add(_last(part, 2))
    taken = {name.rpartition(".")[2] for name in others}
    return sorted({name if name.rpartition(".")[2] in taken else name.rpartition(".")[2] for name in chosen})


def _last(part: LayerPart, num: int) -> str:
    return ".".join(part.stored_name.split(".")[-num:])


def _check_files(directory: Path) -> None:
    if not directory.is_dir():
        raise FileError(
            f"{directory} is not an adapter's folder.", hint=f"give a folder that holds {ADAPTER_CONFIG_FILE}"
        )
    for name in (ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE):
        if (directory / name).is_file():
            continue
        if (directory / _PICKLE_FILE).exists():
            raise CheckpointError(
                f"{directory / _PICKLE_FILE} is a pickle file, which can run any code; only safetensors is read.",
                hint="save the adapter again where you trust it, with safe_serialization=True",
            )
        raise CheckpointError(f"{directory / name} is missing: this is not an adapter as PEFT lays it out.")


def _targets(directory: Path, model: Transformer) -> tuple[tuple[str, ...], int]:
    """Return which parts of a block an adapter's file holds factors of, and of how many last blocks (0: all).

    Raises: CheckpointError if it holds some for a module that the model does not have, or leaves a block out between.
    """
    known = {part.stored_name: (part.name, path) for path, parts in layers_with_parts(model).items() for part in parts}
    targets: dict[str, None] = {}
    blocks: set[int] = set()
    path = directory / ADAPTER_WEIGHTS_FILE
    for key in TensorFile(path):
        match = _KEY.fullmatch(key)
        if match is None or match[1] not in known:
            raise CheckpointError(f"{path} holds tensor {key[:120]}, and the model has no matrix for it to go beside.")
        name, layer = known[match[1]]
        targets[name] = None
        blocks.add(block_of(layer))
    if not targets:
        raise CheckpointError(f"{path} holds no tensors.")
    num_layers, order = model.config.num_layers, (*PARTS, *targets)
    if blocks != set(range(min(blocks), num_layers)):
        raise CheckpointError(
            f"{path} adapts some blocks and leaves out later ones; only the last ones may be adapted."
        )
    return tuple(sorted(targets, key=order.index)), (num_layers - min(blocks)) % num_layers


def _own_heads(directory: Path, model: Transformer) -> tuple[HeadSpec, ...] | None:
    """Return the task heads that an adapter brings; None for one that says nothing of heads.

    Raises: CheckpointError if it belongs to a model of another shape.
    """
    if not (directory / MODEL_FILE).is_file():
        return None
    config, heads = read_model_description(directory)
    if replace(config, dropout=0.0) != replace(model.config, dropout=0.0):
        raise CheckpointError(f"{directory / MODEL_FILE} is that of another model: this adapter was made for one.")
    return heads


def _read_factors(directory: Path, model: Transformer, config: LoraConfig) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the factors of every adapted layer, the parts one above the other."""
    reached = layers_in_reach(model, config.last_blocks)
    layers = {path: [part for part in parts if part.name in config.targets] for path, parts in reached.items()}
    expected = {_key(part, factor) for parts in layers.values() for part in parts for factor in "AB"}
    file = TensorFile(directory / ADAPTER_WEIGHTS_FILE, expected=expected)
    found = {}
    for path, parts in layers.items():
        width = model.get_parameter(f"{path}.weight").shape[1]
        downs = [file.read(_key(part, "A"), shape=(config.rank, width)) for part in parts]
        ups = [file.read(_key(part, "B"), shape=(part.num_rows, config.rank)) for part in parts]
        if parts:
            found[path] = (torch.cat(downs).to(model.dtype), torch.cat(ups).to(model.dtype))
    return found


def _head_tensors(heads: TaskHeads) -> Iterator[tuple[str, Tensor]]:
    for spec in heads.specs:
        for kind, tensor in heads[spec.name].named_parameters():
            yield f"heads.{spec.name}.{kind}", tensor


def _read_heads(directory: Path, specs: Sequence[HeadSpec], model: Transformer) -> dict[str, Tensor]:
    """Return the weights of task heads, by their names in a model."""
    if not specs:
        return {}
    kinds = {spec.name: _tensors_of(spec) for spec in specs}
    names = {f"heads.{name}.{kind}" for name, own in kinds.items() for kind in own}
    file, width = TensorFile(directory / EXTRAS_FILE, expected=names), model.config.embed_dim
    found: dict[str, Tensor] = {}
    for number, spec in enumerate(specs):
        weight = file.read(f"heads.{spec.name}.weight", shape=(spec.num_outputs, width))
        found[f"layers.{number}.weight"] = weight.to(model.dtype)
        found[f"layers.{number}.bias"] = file.read(f"heads.{spec.name}.bias", shape=(spec.num_outputs,)).to(model.dtype)
        if spec.ngram_buckets:
            table = file.read(f"heads.{spec.name}.ngrams.weight", shape=(spec.ngram_buckets, spec.num_outputs))
            found[f"layers.{number}.ngrams.weight"] = table.to(model.dtype)
        if spec.reads_matches:
            shapes = {"weight": (spec.num_outputs, NUM_MATCH_FEATURES), "bias": (spec.num_outputs,)}
            for kind, shape in shapes.items():
                tensor = file.read(f"heads.{spec.name}.matches.{kind}", shape=shape)
                found[f"layers.{number}.matches.{kind}"] = tensor.to(model.dtype)
    return found


def _tensors_of(spec: HeadSpec) -> tuple[str, ...]:
    table = ("ngrams.weight",) if spec.ngram_buckets else ()
    matches = ("matches.weight", "matches.bias") if spec.reads_matches else ()
    return ("weight", "bias", *table, *matches)
