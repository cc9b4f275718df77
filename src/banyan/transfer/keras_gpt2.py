"""Keras/TensorFlow GPT-2: the `tf_model.h5` that transformers wrote until release 4, with config.json beside it.

Inside, a weight is called like `transformer/tfgpt2lm_head_model/transformer/h_._0/attn/c_attn/weight:0`: the first
words differ from release to release, the last ones do not. Source: files written by transformers 4.37 (tests/fixtures);
the older spelling `tfgp_t2lm_head_model`, with `wte/weight:0`, as in the files of the hub's `gpt2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from banyan.core.errors import BanyanError, CheckpointError, missing_extra
from banyan.core.model_directory import CONFIG_FILE
from banyan.model.tensor_source import TensorInfo, TensorSource
from banyan.transfer.foreign_config import ForeignConfig
from banyan.transfer.foreign_model import ForeignModel, check_no_link_leaves, check_tensors, expected_shapes
from banyan.transfer.hugging_face import read_config_file, read_generation_file

WEIGHTS_FILE = "tf_model.h5"
_MAGIC = b"\x89HDF\r\n\x1a\n"
_BLOCK = re.compile(r"(?:.+/)?h(?:_\._|\.|/|_)?(\d+)/(.+)")
_OUTSIDE = re.compile(r"(?:.+/)?(wte|wpe|ln_f)/(.+)")
_KINDS = {"gamma": "weight", "beta": "bias", "kernel": "weight", "embeddings": "weight"}
_MAX_DEPTH = 16  # of groups in groups; a group may be linked into itself
_FLOATS = {"float16": "F16", "float32": "F32", "float64": "F64"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A dataset of the file."""

    path: str
    shape: tuple[int, ...]  # without the 1 in front that biases have there
    dtype: str


class KerasGPT2:
    """The `.h5` of a Keras GPT-2, or a folder with one."""

    does = "a Keras/TensorFlow GPT-2: tf_model.h5 as transformers wrote it, with its config.json"

    def recognises(self, source: Path) -> bool:
        """Say whether there is a file of the HDF5 format."""
        path = _weight_file(source)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC

    def open(self, source: Path) -> ForeignModel:
        """Open the file and check every weight in it."""
        path = _weight_file(source)
        check_no_link_leaves(path.parent)
        if not (path.parent / CONFIG_FILE).is_file():
            raise CheckpointError(
                f"{path.parent} has no {CONFIG_FILE}: the weights alone do not say how many heads there are.",
                hint=f"copy the {CONFIG_FILE} of the model beside {path.name}",
            )
        config = read_config_file(path.parent)
        tensors = open_weights(path, config)
        return ForeignModel(
            format="keras_gpt2",
            config=config,
            tensors=tensors,
            tokenizer=path.parent,
            generation=read_generation_file(path.parent),
        )


def _weight_file(source: Path) -> Path:
    return source / WEIGHTS_FILE if source.is_dir() else source


def open_weights(path: Path, config: ForeignConfig) -> TensorSource:
    """Return the weights under their Hugging Face names.

    Raises: CheckpointError if it is not GPT-2's, or a weight is missing, unknown or of another shape.
    """
    if config.architecture != "gpt2":
        raise CheckpointError(
            f"{path}: of Keras files Banyan reads those of GPT-2, and {CONFIG_FILE} says {config.architecture}."
        )
    tensors = _KerasTensors(path)
    shapes = expected_shapes(config.model, num_tensors=len(tensors), place=f"{path.parent / CONFIG_FILE}")
    check_tensors(tensors, shapes, place=str(path))
    return tensors


class _KerasTensors(TensorSource):
    """The datasets of a Keras file by their Hugging Face names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open_h5(path)
        self._found: dict[str, _Found] = {}
        with _in_one_line(path):
            datasets = list(_datasets(self._file, path))
        for found in datasets:
            name = _our_name(found.path)
            if name in self._found:
                raise CheckpointError(f"{path} holds {name} twice: {self._found[name].path} and {found.path}.")
            self._found[name] = found

    def __getitem__(self, name: str) -> Tensor:
        found = self._found[name]
        with _in_one_line(self._path):
            return torch.from_numpy(self._file[found.path][()]).reshape(found.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._found))

    def __len__(self) -> int:
        return len(self._found)

    def place(self, name: str) -> str:
        """Return the path of the file."""
        return str(self._path)

    def info(self, name: str) -> TensorInfo:
        """Return shape and number format as the file describes them."""
        found = self._found[name]
        return TensorInfo(shape=found.shape, dtype=_FLOATS.get(found.dtype, found.dtype))


def _open_h5(path: Path) -> Any:
    try:
        import h5py  # an extra: only whoever has such a file needs it
    except ImportError as error:
        raise missing_extra("h5py", "keras", needed_for=f"reading {path.name}") from error
    with _in_one_line(path):
        return h5py.File(path, "r")


@contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    """Turn what HDF5 says of a damaged file, which is of many kinds, into our one line."""
    try:
        yield
    except BanyanError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, OverflowError) as error:
        raise CheckpointError(f"{path} cannot be read as HDF5: it is truncated or corrupt.") from error


def _datasets(file: Any, path: Path) -> Iterator[_Found]:
    """Walk through a file by hard links alone: a soft or external link could lead into another file."""
    queue = [file]
    while queue:
        group = queue.pop()
        for key in group:
            if type(group.get(key, getlink=True)).__name__ != "HardLink":
                raise CheckpointError(f"{path}: {group.name}/{key} is a link; a file of weights holds plain data only.")
            item = group[key]
            if item.name.count("/") > _MAX_DEPTH:
                raise CheckpointError(
                    f"{path}: {item.name} lies deeper than {_MAX_DEPTH} groups; it is no file of weights."
                )
            if hasattr(item, "keys"):
                queue.append(item)
            else:
                yield _described(item, path)


def _described(dataset: Any, path: Path) -> _Found:
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"{path}: {dataset.name} keeps its numbers in another file, which is not read.")
    shape = tuple(int(size) for size in dataset.shape or ())
    is_bias = len(shape) == 2 and shape[0] == 1 and re.search(r"/bias(:\d+)?$", dataset.name)
    return _Found(path=dataset.name, shape=shape[1:] if is_bias else shape, dtype=str(dataset.dtype))


def _our_name(path: str) -> str:
    """Turn `…/h_._3/ln_1/gamma:0` into `transformer.h.3.ln_1.weight`; what is not GPT-2's keeps its own name."""
    words = re.sub(r":\d+$", "", path.strip("/"))
    if found := _BLOCK.fullmatch(words):
        return f"transformer.h.{int(found[1])}.{_dotted(found[2])}"
    if found := _OUTSIDE.fullmatch(words):
        return f"transformer.{found[1]}.{_dotted(found[2])}"
    return "lm_head.weight" if words.endswith("lm_head/weight") else words


def _dotted(words: str) -> str:
    *modules, kind = words.split("/")
    return ".".join([*modules, _KINDS.get(kind, kind)])
