"""The tokenizer.json of a larger vocabulary: everything that was there, new names and new merges behind them."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError
from banyan.core.files import atomic_write_text, read_json
from banyan.core.model_directory import TOKENIZER_FILE
from banyan.tokenizers.foreign_bpe import token_names
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.tokenizers.vocabulary_loading import load_vocabulary

_MAX_BYTES = 64 << 20
_ROW_MULTIPLE = 64


def describe_tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the content of a vocabulary's tokenizer.json."""
    if vocabulary.foreign is not None:
        return dict(vocabulary.foreign.description)
    with tempfile.TemporaryDirectory() as name:
        vocabulary.save(Path(name))
        description = read_json(Path(name) / TOKENIZER_FILE, max_bytes=_MAX_BYTES)
    if not isinstance(description, dict):
        raise AssertionError("a tokenizer that we wrote is a JSON object")
    return description


def grown_description(
    description: Mapping[str, Any],
    *,
    names: Mapping[int, str],
    merges: Sequence[tuple[str, str]],
    special_tokens: Mapping[int, str],
) -> dict[str, Any]:
    """Return a tokenizer.json with new tokens, merges behind the old ones, and new special tokens.

    Every id gets its name in the table of the BPE too, special ones included: other tools count added tokens on from
    the length of that table, and would number them anew otherwise.
    """
    old = token_names(description)
    if taken := sorted(set(special_tokens.values()) & set(old.values())):
        raise ConfigError(f"special token {taken[0]!r} exists already.", hint="leave it out")
    every_name = {**old, **names, **special_tokens}
    result = copy.deepcopy(dict(description))
    result["model"]["vocab"] = {every_name[token_id]: token_id for token_id in sorted(every_name)}
    result["model"]["merges"] = [*description["model"]["merges"], *_written_like(description, merges)]
    entries = [_special_entry(token_id, name) for token_id, name in sorted(special_tokens.items())]
    result["added_tokens"] = [*(description.get("added_tokens") or []), *entries]
    return result


def _written_like(description: Mapping[str, Any], merges: Sequence[tuple[str, str]]) -> list[Any]:
    """Write merges as the file does: as pairs, or in the older way as two names with a space between them."""
    known = description["model"]["merges"]
    is_old = bool(known) and isinstance(known[0], str)
    return [" ".join(pair) if is_old else list(pair) for pair in merges]


def _special_entry(token_id: int, name: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": name, **flags}


def rebuild_vocabulary(
    vocabulary: Vocabulary, description: Mapping[str, Any], *, chat: str | None, num_image_codes: int
) -> Vocabulary:
    """Return a vocabulary with another tokenizer.json, and otherwise like the one given."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        vocabulary.save(directory)
        atomic_write_text(directory / TOKENIZER_FILE, json.dumps(description, ensure_ascii=False, indent=1) + "\n")
        return load_vocabulary(
            directory,
            chat=chat or vocabulary.chat.name,
            task_names=vocabulary.task_names,
            num_image_codes=num_image_codes,
            text_size=max(vocabulary.text_size, _num_rows(description)),
        )


def _num_rows(description: Mapping[str, Any]) -> int:
    """Return the number of rows for text and special tokens: a multiple of what hardware likes."""
    return -(-(1 + max(token_names(description))) // _ROW_MULTIPLE) * _ROW_MULTIPLE
