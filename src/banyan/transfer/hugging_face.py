"""Hugging Face directories: config.json, safetensors in one file or in shards, tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from banyan.core.errors import CheckpointError, FileError
from banyan.core.files import read_json
from banyan.core.model_directory import BANYAN_FILE, CONFIG_FILE, WEIGHTS_FILE
from banyan.model.checkpoint import GENERATION_CONFIG_FILE
from banyan.model.tensor_file import INDEX_FILE, open_tensors
from banyan.model.tensor_source import TensorSource
from banyan.transfer.foreign_config import ForeignConfig, read_foreign_config
from banyan.transfer.foreign_model import ForeignModel, Renamed, check_no_link_leaves, check_tensors, expected_shapes

_ADAPTER_FILE = "adapter_config.json"
# What a file without a head calls its tensors begins after this.
_BASE_PREFIX: Mapping[str, str] = {"gpt2": "transformer."}
_LLAMA_PREFIX = "model."
_HEAD, _EMBEDDINGS = "lm_head.weight", ("transformer.wte.weight", "model.embed_tokens.weight")
# Tables that old releases saved beside the weights: the causal mask, and the frequencies of RoPE.
_BUFFER = re.compile(r"(.+\.)?(attn\.(masked_)?bias|rotary_emb\.(inv_freq|cos_cached|sin_cached))")


class HuggingFaceDirectory:
    """A directory as `save_pretrained` writes it."""

    does = "a Hugging Face directory: config.json and safetensors, in one file or in shards"

    def recognises(self, source: Path) -> bool:
        """Say whether config.json and weights in safetensors are there."""
        return (source / CONFIG_FILE).is_file() and any(
            (source / name).is_file() for name in (WEIGHTS_FILE, INDEX_FILE)
        )

    def open(self, source: Path) -> ForeignModel:
        """Open the directory and check every tensor in it."""
        _refuse_what_is_no_model(source)
        check_no_link_leaves(source)
        config = read_config_file(source)
        found = open_tensors(source, WEIGHTS_FILE)
        tensors, left_out = fit_names(found, config, place=str(source))
        return ForeignModel(
            format="hugging_face",
            config=config,
            tensors=tensors,
            tokenizer=source,
            left_out=left_out,
            generation=read_generation_file(source),
        )


def read_config_file(source: Path) -> ForeignConfig:
    """Read the config.json of a folder.

    Raises: CheckpointError if it is missing or says what Banyan cannot compute.
    """
    path = source / CONFIG_FILE
    return read_foreign_config(_read_object(path), source=str(path))


def read_generation_file(source: Path) -> Mapping[str, Any] | None:
    """Read the generation_config.json of a folder, or return None if there is none."""
    path = source / GENERATION_CONFIG_FILE
    return _read_object(path) if path.is_file() else None


def fit_names(found: TensorSource, config: ForeignConfig, *, place: str) -> tuple[TensorSource, tuple[str, ...]]:
    """Return the weights under the names of a model with a head, and the names of the tensors that are left out.

    Raises: CheckpointError if a tensor is missing, unknown, there twice, or not of the shape the config asks for.
    """
    shapes = expected_shapes(config.model, num_tensors=len(found), place=f"{place}: {CONFIG_FILE}")
    prefix = _BASE_PREFIX.get(config.architecture, _LLAMA_PREFIX)
    left_out = {name for name in found if _BUFFER.fullmatch(name)}
    if config.model.tie_embeddings and _HEAD in found:
        left_out.add(_HEAD)
    names = _ours_to_theirs(found.keys() - left_out, known=shapes.keys(), prefix=prefix, place=place)
    embedding = next(name for name in _EMBEDDINGS if name in shapes)
    if _HEAD in left_out and embedding not in names:  # of two names for one tensor, the other was kept
        names[embedding] = _HEAD
        left_out.remove(_HEAD)
    tensors = Renamed(found, names)
    check_tensors(tensors, shapes, place=place)
    if _HEAD in left_out:
        _check_head_is_tied(found, tensors, embedding=embedding, place=place)
    return tensors, tuple(sorted(left_out))


def _ours_to_theirs(theirs: Iterable[str], *, known: Iterable[str], prefix: str, place: str) -> dict[str, str]:
    known, names = set(known), dict[str, str]()
    for name in sorted(theirs):
        ours = prefix + name if name not in known and prefix + name in known else name
        if ours in names:
            raise CheckpointError(f"{place} holds {ours} twice: as {names[ours]} and as {name}.")
        names[ours] = name
    return names


def _check_head_is_tied(found: TensorSource, tensors: TensorSource, *, embedding: str, place: str) -> None:
    if found.info(_HEAD) != tensors.info(embedding) or not torch.equal(found[_HEAD], tensors[embedding]):
        raise CheckpointError(
            f"{place}: {_HEAD} differs from {embedding}, and the config says that they are one (tie_word_embeddings).",
            hint=f'set "tie_word_embeddings": false in {CONFIG_FILE} if the head is right',
        )


def _refuse_what_is_no_model(source: Path) -> None:
    if (source / BANYAN_FILE).exists():
        raise CheckpointError(f"{source} is a Banyan model already; it needs no import.")
    if not (source / CONFIG_FILE).exists() and (source / _ADAPTER_FILE).exists():
        raise CheckpointError(
            f"{source} holds adapters, not a model.", hint="import the model they were made for, and name them with it"
        )


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        value = read_json(path)
    except FileError as error:
        raise CheckpointError(error.message) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must be a JSON object.")
    return value
