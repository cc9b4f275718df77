"""The tokenizer file of llama2.c (pieces with scores) as a tokenizer.json (pieces with merges).

Source: karpathy/llama2.c, tokenizer.py (`export`) and run.c (`build_tokenizer`, `encode`).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from banyan.core.errors import CheckpointError
from banyan.core.files import read_bytes

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
_SPECIAL = (UNKNOWN, BEGIN, END)
_SPACE_MARK = "\u2581"
_MAX_BYTES = 64 << 20
_HEADER = struct.Struct("<i")  # length of the longest piece
_ENTRY = struct.Struct("<fi")  # score, length in bytes


def llama2c_description(path: Path) -> dict[str, Any]:
    """Return the tokenizer.json of a llama2.c tokenizer file.

    Raises: CheckpointError if the file is cut off or holds no pieces behind the 259 every one begins with.
    """
    pieces = _read_pieces(path)
    if len(pieces) < len(_SPECIAL) + 256 or [name for name, _ in pieces[3:259]] != [f"<0x{n:02X}>" for n in range(256)]:
        raise CheckpointError(f"{path} is no tokenizer of llama2.c: ids 3 to 258 must be the 256 single bytes.")
    names = [*_SPECIAL, *(name.replace(" ", _SPACE_MARK) for name, _ in pieces[3:])]
    scores = [score for _, score in pieces]
    return _description(names, _merges(names, scores))


def llama2c_config() -> dict[str, Any]:
    """Return the tokenizer_config.json that belongs to it."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "add_bos_token": True,
        "clean_up_tokenization_spaces": False,
    }


def _read_pieces(path: Path) -> list[tuple[str, float]]:
    data = read_bytes(path, max_bytes=_MAX_BYTES)
    pieces: list[tuple[str, float]] = []
    at = _HEADER.size
    while at < len(data):
        if at + _ENTRY.size > len(data):
            raise _cut_off(path, len(pieces))
        score, length = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if not 0 <= length <= len(data) - at:
            raise _cut_off(path, len(pieces))
        pieces.append((data[at : at + length].decode("utf-8", errors="replace"), score))
        at += length
    return pieces


def _cut_off(path: Path, num_pieces: int) -> CheckpointError:
    return CheckpointError(f"{path} breaks off after {num_pieces} pieces, or is no tokenizer of llama2.c.")


def _merges(names: list[str], scores: list[float]) -> list[list[str]]:
    """Return every pair of pieces that makes a piece, the best score first: the order in which run.c joins them."""
    first = len(_SPECIAL) + 256
    known = set(names[first:])
    pairs = [
        (-scores[token_id], token_id, [name[:cut], name[cut:]])
        for token_id, name in enumerate(names[first:], start=first)
        for cut in range(1, len(name))
        if name[:cut] in known and name[cut:] in known
    ]
    return [pair for _, _, pair in sorted(pairs)]


def _description(names: list[str], merges: list[list[str]]) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    to_mark = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE_MARK}
    to_space = {"type": "Replace", "pattern": {"String": _SPACE_MARK}, "content": " "}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    begin = {"SpecialToken": {"id": BEGIN, "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": name, **flags} for number, name in enumerate(_SPECIAL)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": _SPACE_MARK}, to_mark]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, text],
            "pair": [begin, text, begin, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {BEGIN: {"id": BEGIN, "ids": [1], "tokens": [BEGIN]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                to_space,
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {name: number for number, name in enumerate(names)},
            "merges": merges,
        },
    }
