"""Which tensor of which file holds which part of a parameter, in the names other tools know.

At run time queries, keys and values are one matrix, as are gate and up, and pictures share the table of the words; on
disk each has a tensor of its own. This file and `hugging_face_config.py` are the only ones here with foreign names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from banyan.core.model_directory import EXTRAS_FILE, WEIGHTS_FILE
from banyan.core.types import HeadSpec
from banyan.model.config import ModelConfig

_LLAMA_NAMES = {
    "embedding": "model.embed_tokens",
    "position_embedding": "model.embed_positions",
    "lookback.gains": "model.lookback_gains",
    "word_head": "lm_head",
    "final_norm": "model.norm",
    "blocks": "model.layers",
    "attention_norm": "input_layernorm",
    "attention.q": "self_attn.q_proj",
    "attention.k": "self_attn.k_proj",
    "attention.v": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.q_gain": "self_attn.q_norm.weight",
    "attention.k_gain": "self_attn.k_norm.weight",
    "feed_forward_norm": "post_attention_layernorm",
    "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.up": "mlp.up_proj",
    "feed_forward.down": "mlp.down_proj",
}
_GPT2_NAMES = {
    "embedding": "transformer.wte",
    "position_embedding": "transformer.wpe",
    "word_head": "lm_head",
    "final_norm": "transformer.ln_f",
    "blocks": "transformer.h",
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.up": "mlp.c_fc",
    "feed_forward.down": "mlp.c_proj",
}
_GPT2_TRANSPOSED = {"attention.qkv", "attention.output", "feed_forward.up", "feed_forward.down"}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
_HEAD = re.compile(r"heads\.layers\.(\d+)\.(.+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredPart:
    """One tensor on disk: some rows of a run-time parameter."""

    file: str
    name: str
    shape: tuple[int, ...]  # as it lies on disk
    num_rows: int  # of the run-time parameter
    is_transposed: bool = False


Layout = Mapping[str, tuple[StoredPart, ...]]  # run-time parameter → its parts, first rows first


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """A part before its shape is known."""

    name: str
    num_rows: int | None = None  # None: all
    file: str = WEIGHTS_FILE
    is_transposed: bool = False


def disk_layout(
    shapes: Mapping[str, tuple[int, ...]], *, config: ModelConfig, heads: Iterable[HeadSpec], architecture: str | None
) -> Layout:
    """Return where every run-time parameter lies on disk.

    `shapes` are those of the run-time parameters; `architecture` is the stock one whose names are used (None: ours,
    which are those of Llama).
    """
    namer = _Namer(config, tuple(heads), is_gpt2=architecture == "gpt2")
    return {name: tuple(_place(piece, shape) for piece in namer.pieces(name)) for name, shape in shapes.items()}


def _place(piece: _Piece, shape: tuple[int, ...]) -> StoredPart:
    num_rows = shape[0] if piece.num_rows is None else piece.num_rows
    on_disk = (num_rows, *shape[1:])
    return StoredPart(
        file=piece.file,
        name=piece.name,
        shape=on_disk[::-1] if piece.is_transposed else on_disk,
        num_rows=num_rows,
        is_transposed=piece.is_transposed and len(shape) == 2,
    )


def split_parameter(parameter: Tensor, parts: tuple[StoredPart, ...]) -> dict[str, Tensor]:
    """Return the tensors that go to disk, as views of the parameter."""
    rows = torch.split(parameter.detach(), [part.num_rows for part in parts])
    return {part.name: piece.T if part.is_transposed else piece for part, piece in zip(parts, rows, strict=True)}


def join_parameter(tensors: Iterable[Tensor], parts: tuple[StoredPart, ...]) -> Tensor:
    """Return the run-time parameter made of the tensors of its parts."""
    pieces = [tensor.T if part.is_transposed else tensor for tensor, part in zip(tensors, parts, strict=True)]
    return pieces[0].contiguous() if len(pieces) == 1 else torch.cat(pieces)


class _Namer:
    """Finds the pieces of a run-time parameter by its name."""

    def __init__(self, config: ModelConfig, heads: tuple[HeadSpec, ...], *, is_gpt2: bool) -> None:
        self.heads = heads
        self.is_gpt2 = is_gpt2
        self.names = _GPT2_NAMES if is_gpt2 else _LLAMA_NAMES
        q_rows, kv_rows = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.vocabulary_rows = (config.text_vocab_size, config.num_image_codes)
        self.qkv_rows = (("q", q_rows), ("k", kv_rows), ("v", kv_rows))
        self.ffn_rows = (("gate", config.ffn_dim), ("up", config.ffn_dim))

    def pieces(self, parameter: str) -> tuple[_Piece, ...]:
        if found := _BLOCK.fullmatch(parameter):
            return self._block_pieces(prefix=f"{self.names['blocks']}.{found[1]}.", parameter=found[2])
        if found := _HEAD.fullmatch(parameter):
            return (_Piece(name=f"heads.{self.heads[int(found[1])].name}.{found[2]}", file=EXTRAS_FILE),)
        if parameter == "grid_embedding.weight":
            return (_Piece(name=parameter, file=EXTRAS_FILE),)
        if parameter == "embedding.weight":
            return self._vocabulary_pieces("embedding", beside="image_embedding.weight")
        if parameter == "word_head.weight":
            return self._vocabulary_pieces("word_head", beside="image_head.weight")
        module, _, kind = parameter.rpartition(".")
        return (_Piece(name=f"{self.names[module]}.{kind}"),)

    def _vocabulary_pieces(self, module: str, *, beside: str) -> tuple[_Piece, ...]:
        num_text, num_image = self.vocabulary_rows
        text = _Piece(name=f"{self.names[module]}.weight", num_rows=num_text)
        return (text, _Piece(name=beside, num_rows=num_image, file=EXTRAS_FILE)) if num_image else (text,)

    def _block_pieces(self, *, prefix: str, parameter: str) -> tuple[_Piece, ...]:
        if parameter in self.names:  # a parameter without a module of its own
            return (_Piece(name=prefix + self.names[parameter]),)
        module, _, kind = parameter.rpartition(".")
        if module == "attention.qkv" and not self.is_gpt2:
            return tuple(self._rows_piece(prefix, f"attention.{part}", kind, rows) for part, rows in self.qkv_rows)
        if module == "feed_forward.gate_up":
            return tuple(self._rows_piece(prefix, f"feed_forward.{part}", kind, rows) for part, rows in self.ffn_rows)
        is_transposed = self.is_gpt2 and module in _GPT2_TRANSPOSED
        return (_Piece(name=f"{prefix}{self.names[module]}.{kind}", is_transposed=is_transposed),)

    def _rows_piece(self, prefix: str, module: str, kind: str, num_rows: int) -> _Piece:
        return _Piece(name=f"{prefix}{self.names[module]}.{kind}", num_rows=num_rows)
