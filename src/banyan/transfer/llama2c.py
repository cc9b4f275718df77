"""The flat file of karpathy/llama2.c (version 0): seven numbers, then every weight as float32, one after another.

Source: karpathy/llama2.c, export.py (legacy_export) and run.c (memory_map_weights).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from banyan.core.errors import BanyanError, CheckpointError
from banyan.model.config import ModelConfig
from banyan.model.tensor_source import TensorInfo, TensorSource
from banyan.transfer.foreign_config import ForeignConfig
from banyan.transfer.foreign_model import ForeignModel, check_no_link_leaves, check_tensors, expected_shapes

_HEADER = struct.Struct("<7i")  # dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len
_LATER_VERSIONS = b"24ka"  # "ak42" as a little-endian number
_FLOAT_BYTES = 4
_MAX_SIZE = 1 << 24  # of any number in the header; a believable model is far below
_BOS_ID, _EOS_ID = 1, 2  # of every tokenizer llama2.c reads
_TOKENIZER_STARTS = ("tok", "tokenizer")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where one tensor lies in the file."""

    start: int  # in numbers
    shape: tuple[int, ...]
    num_heads: int = 0  # not 0: rows are pairs of RoPE, neighbour beside neighbour, and must be put in halves


class Llama2cFile:
    """A `.bin` of llama2.c, or the one such file of a folder; the tokenizer (`tok*.bin`) lies beside it."""

    does = "a flat float32 file of llama2.c (version 0), with its tokenizer tok*.bin beside it"

    def recognises(self, source: Path) -> bool:
        """Say whether the seven numbers at the beginning fit the length of a file."""
        found = _weight_files(source)
        return len(found) == 1 and _read_config(found[0]) is not None

    def open(self, source: Path) -> ForeignModel:
        """Open the file and check its length."""
        found = _weight_files(source)
        if len(found) != 1:
            raise CheckpointError(
                f"{source} holds {len(found)} files that could be weights of llama2.c; name the one to import."
            )
        path = found[0]
        check_no_link_leaves(path.parent)
        config = _read_config(path)
        if config is None:
            raise CheckpointError(f"{path} {_what_it_is_not(path)}")
        tensors = _FlatTensors(path, config)
        place = str(path)
        check_tensors(tensors, expected_shapes(config, num_tensors=len(tensors), place=place), place=place)
        foreign = ForeignConfig(
            architecture="llama", model=config, bos_id=_BOS_ID, eos_ids=(_EOS_ID,), pad_id=None, ignored=()
        )
        return ForeignModel(format="llama2c", config=foreign, tensors=tensors, tokenizer=path.parent)


def _weight_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(path for path in source.glob("*.bin") if not path.name.startswith(_TOKENIZER_STARTS))


def _read_config(path: Path) -> ModelConfig | None:
    """Return the config that the header gives, or None if the file is no such file."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len = _HEADER.unpack(header)
    sizes = (dim, hidden_dim, n_layers, n_heads, n_kv_heads, abs(vocab_size), seq_len)
    if not all(0 < size < _MAX_SIZE for size in sizes):
        return None
    try:
        config = ModelConfig(
            num_layers=n_layers,
            num_heads=n_heads,
            num_kv_heads=n_kv_heads,
            embed_dim=dim,
            ffn_dim=hidden_dim,
            vocab_size=abs(vocab_size),
            max_seq_len=seq_len,
            norm_eps=1e-5,
            tie_embeddings=vocab_size > 0,
        )
    except BanyanError:
        return None
    return config if path.stat().st_size == _num_bytes(config) else None


def _what_it_is_not(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(4) == _LATER_VERSIONS:
            return "is of version 1 or 2 of llama2.c; Banyan reads version 0 (export.py --version 0)."
    return (
        "is not a whole file of llama2.c: its length does not fit the seven numbers at its beginning "
        f"({path.stat().st_size:,} bytes)."
    )


def _num_bytes(config: ModelConfig) -> int:
    """Return how long a file must be; the tables of RoPE in it are needed by nobody."""
    tables = config.max_seq_len * config.head_dim
    embeddings = config.vocab_size * config.embed_dim * (1 if config.tie_embeddings else 2)
    blocks = config.num_layers * sum(math.prod(shape) for _, shape, _ in _kinds(config))
    return _HEADER.size + _FLOAT_BYTES * (embeddings + blocks + config.embed_dim + tables)


def _kinds(config: ModelConfig) -> list[tuple[str, tuple[int, ...], int]]:
    """Return what a layer consists of, in the order of the file: name, shape, heads that RoPE turns."""
    width, ffn, kv_width = config.embed_dim, config.ffn_dim, config.num_kv_heads * config.head_dim
    return [
        ("input_layernorm", (width,), 0),
        ("self_attn.q_proj", (width, width), config.num_heads),
        ("self_attn.k_proj", (kv_width, width), config.num_kv_heads),
        ("self_attn.v_proj", (kv_width, width), 0),
        ("self_attn.o_proj", (width, width), 0),
        ("post_attention_layernorm", (width,), 0),
        ("mlp.gate_proj", (ffn, width), 0),
        ("mlp.down_proj", (width, ffn), 0),
        ("mlp.up_proj", (ffn, width), 0),
    ]


def _places(config: ModelConfig) -> dict[str, _Place]:
    """Return where every tensor lies, by its Hugging Face name; a kind of weight lies together for all layers."""
    embedding = (config.vocab_size, config.embed_dim)
    places = {"model.embed_tokens.weight": _Place(start=0, shape=embedding)}
    start = math.prod(embedding)
    for kind, shape, num_heads in _kinds(config):
        for layer in range(config.num_layers):
            places[f"model.layers.{layer}.{kind}.weight"] = _Place(start=start, shape=shape, num_heads=num_heads)
            start += math.prod(shape)
    places["model.norm.weight"] = _Place(start=start, shape=(config.embed_dim,))
    if not config.tie_embeddings:
        after_tables = start + config.embed_dim + config.max_seq_len * config.head_dim
        places["lm_head.weight"] = _Place(start=after_tables, shape=embedding)
    return places


class _FlatTensors(TensorSource):
    """The tensors of a llama2.c file, mapped into memory."""

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self._path = path
        self._places = _places(config)
        self._numbers = numpy.memmap(path, dtype="<f4", mode="r", offset=_HEADER.size)

    def __getitem__(self, name: str) -> Tensor:
        place = self._places[name]
        numbers = self._numbers[place.start : place.start + math.prod(place.shape)].reshape(place.shape)
        tensor = torch.from_numpy(numpy.array(numbers, dtype=numpy.float32))
        return _pairs_to_halves(tensor, num_heads=place.num_heads) if place.num_heads else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def place(self, name: str) -> str:
        """Return the path of the file."""
        return str(self._path)

    def info(self, name: str) -> TensorInfo:
        """Return the shape that the header gives a tensor."""
        return TensorInfo(shape=self._places[name].shape, dtype="F32")


def _pairs_to_halves(weight: Tensor, *, num_heads: int) -> Tensor:
    """Reorder the rows of each head from (0, 1), (2, 3) … to the two halves that our rotation turns against each other.

    Shapes: weight (H * K, D); returns the same.
    """
    rows, width = weight.shape
    by_pair = weight.view(num_heads, rows // num_heads // 2, 2, width)
    return by_pair.transpose(1, 2).reshape(rows, width)
