"""Which tokens of a foreign tokenizer mean more than text: what begins, ends and fills a sequence, and all markers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from banyan.core.errors import CheckpointError
from banyan.tokenizers.foreign_bpe import SPACE_MARK, token_names

_NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")  # of tokenizer_config.json
# Added tokens that look like these are for code to write, even where their file does not call them special.
_MARKER = re.compile(rf"[\s{SPACE_MARK}]*(<.+>|\[.+\])\s*", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRoles:
    """The tokens that only code writes, by name, and what some of them are for."""

    special: Mapping[str, int]  # never shown as text
    markers: Mapping[str, int]  # shown as text where the model writes them
    eos_ids: tuple[int, ...]  # at least one; the tokenizer's own comes first
    bos_id: int | None
    pad_id: int | None
    starts_with_bos: bool  # the family puts its first token before every text


def find_token_roles(description: Mapping[str, Any], config: Mapping[str, Any], model: Mapping[str, Any]) -> TokenRoles:
    """Find the roles in a tokenizer.json, in tokenizer_config.json, and in the ids that the model's own configs name.

    Raises: CheckpointError if nothing ends an answer, or a token is named that does not exist.
    """
    names = token_names(description)
    ids = {name: token_id for token_id, name in names.items()}
    eos_ids = _eos_ids(config, model, ids)
    special = _special(description, config, ids) | {names[eos_ids[0]]: eos_ids[0]}
    added = description.get("added_tokens") or []
    markers = {entry["content"]: entry["id"] for entry in added if _MARKER.fullmatch(entry["content"])}
    bos_id = _id_of(config, "bos_token", ids)
    pad_id = _id_of(config, "pad_token", ids)
    # A bare number counts only where it is no ordinary word: old configs name id 0 for "none".
    known = set(special.values())
    return TokenRoles(
        special=special,
        markers={name: token_id for name, token_id in markers.items() if name not in special},
        eos_ids=eos_ids,
        bos_id=_first(model.get("bos_token_id"), known) if bos_id is None else bos_id,
        pad_id=_first(model.get("pad_token_id"), known) if pad_id is None else pad_id,
        starts_with_bos=bos_id is not None and _puts_bos_first(description, config),
    )


def _special(description: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, int]:
    named = [name for role in _NAMED if (name := _content(config.get(role)))]
    unknown = description["model"].get("unk_token")
    added = [entry["content"] for entry in description.get("added_tokens") or [] if entry.get("special")]
    return {name: ids[name] for name in (*added, *named, unknown) if name in ids}


def _content(token: Any) -> str | None:
    """Return the text of a token that is written as such or as a mapping."""
    value = token.get("content") if isinstance(token, dict) else token
    return value if isinstance(value, str) else None


def _id_of(config: Mapping[str, Any], role: str, ids: Mapping[str, int]) -> int | None:
    name = _content(config.get(role))
    if name is not None and name not in ids:
        raise CheckpointError(f"tokenizer_config.json names the {role} {name!r}; the tokenizer has no such token.")
    return None if name is None else ids[name]


def _eos_ids(config: Mapping[str, Any], model: Mapping[str, Any], ids: Mapping[str, int]) -> tuple[int, ...]:
    own = _id_of(config, "eos_token", ids)
    listed = _among(model.get("eos_token_id"), set(ids.values()))
    found = tuple(dict.fromkeys([*([] if own is None else [own]), *listed]))
    if not found:
        raise CheckpointError(
            "the tokenizer has no end token, so no answer would ever end.",
            hint="name it as eos_token in tokenizer_config.json, or as eos_token_id in config.json",
        )
    return found


def _first(value: Any, known: set[int]) -> int | None:
    return next(iter(_among(value, known)), None)


def _among(value: Any, known: set[int]) -> list[int]:
    """Return the known ids of a config's entry, a number or a list; -1 and the like mean none."""
    items: Iterable[Any] = value if isinstance(value, list) else [value]
    return [item for item in items if type(item) is int and item in known]


def _puts_bos_first(description: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    stated = config.get("add_bos_token")
    if isinstance(stated, bool):
        return stated
    bos = _content(config.get("bos_token"))
    return f'"id": {json.dumps(bos)}' in json.dumps(description.get("post_processor"))
