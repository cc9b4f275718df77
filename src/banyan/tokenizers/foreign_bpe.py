"""Text ↔ ids for a tokenizer that came with foreign weights: byte-level BPE, or SentencePiece-style with byte fallback.

The words are cut by the `tokenizers` package from the model's own tokenizer.json. Control tokens are taken out of it
first, so no text can become one; every id is known by the exact bytes it stands for.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from banyan.core.errors import CheckpointError
from banyan.tokenizers.bpe import NUM_BYTES, build_tokenizer, byte_alphabet, encode_text, encode_texts

SPACE_MARK = "\u2581"  # how SentencePiece writes a space; text that holds this character reads back as a space
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_MAX_IDS = 1_000_000  # four times the largest vocabulary in use; a larger id is a damaged file


class ForeignBytePair:
    """Turns text into a foreign model's ids and back; ids that are no text (control tokens, holes) have no bytes."""

    def __init__(
        self, description: Mapping[str, Any], *, special_ids: Iterable[int], marker_ids: Iterable[int] = ()
    ) -> None:
        """Take a tokenizer.json apart. No text becomes a special token or a marker; only markers are read as text.

        Raises: CheckpointError if it is no BPE of the two kinds, or cannot write every byte.
        """
        names, special = token_names(description), set(special_ids)
        self._is_sentencepiece = _is_sentencepiece(description)
        added = {entry["content"] for entry in _added_entries(description)}
        spell = _sentencepiece_bytes if self._is_sentencepiece else _byte_level_bytes
        self._bytes_of: list[bytes | None] = [None] * (max(names) + 1)
        for token_id, name in names.items():
            if token_id not in special:
                self._bytes_of[token_id] = name.encode("utf-8") if name in added else spell(name)
        _require_all_bytes(self._bytes_of)
        hidden = {*special, *marker_ids}
        texts = {token_id: name for token_id, name in names.items() if token_id not in hidden}
        plain = _without_control_tokens(description, names, size=len(self._bytes_of), texts=texts)
        self._adds_space, self._adds_space_after_special = _added_spaces(plain)
        self._tokenizer = build_tokenizer(plain)
        self._inside = build_tokenizer(_without_added_space(plain)) if self._adds_space else self._tokenizer

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return len(self._bytes_of)

    @property
    def starts_with_space(self) -> bool:
        """Whether a text's first word is written with a space that the text does not have."""
        return self._is_sentencepiece and self._adds_space

    def is_text(self, token_id: int) -> bool:
        """Does the id stand for text?"""
        return 0 <= token_id < len(self._bytes_of) and self._bytes_of[token_id] is not None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text.

        Raises: InputError if the text holds a lone surrogate, which UTF-8 cannot express.
        """
        return self.encode_with_offsets(text)[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts, in parallel."""
        return encode_texts(self._tokenizer, texts)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a text and, for each, the range of characters it belongs to (end exclusive)."""
        return encode_text(self._tokenizer, text)

    def encode_inside(self, text: str, *, after_special: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
        """Return ids and offsets of a text that stands behind other text, or right behind a control token."""
        begins_anew = after_special and self._adds_space_after_special
        return encode_text(self._tokenizer if begins_anew else self._inside, text)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes one token stands for; none for an id that is no text."""
        return self._bytes_of[token_id] or b""

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Return the exact bytes the ids stand for, with the space before the first word."""
        return b"".join(map(self.token_bytes, token_ids))

    def to_json(self) -> str:
        """Return the tokenizer without its control tokens in Hugging Face's tokenizer.json format."""
        return str(self._tokenizer.to_str())


def token_names(description: Mapping[str, Any]) -> dict[int, str]:
    """Return the name of every id of a tokenizer.json, its added tokens last said.

    Raises: CheckpointError if it is not of the form of a BPE, or an id is out of bounds or has two names.
    """
    model = description.get("model")
    kind = model.get("type", "BPE" if "merges" in model else None) if isinstance(model, dict) else None
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if kind != "BPE" or not isinstance(vocabulary, dict):
        raise CheckpointError(
            f"tokenizer.json is of the kind {kind}; Banyan reads BPE, byte-level or SentencePiece-style.",
            hint="models of the GPT-2, Llama, Qwen and Mistral families have one",
        )
    added = [(entry.get("content"), entry.get("id")) for entry in _added_entries(description)]
    names: dict[int, str] = {}
    for name, token_id in [*vocabulary.items(), *added]:
        if not isinstance(name, str) or type(token_id) is not int or not 0 <= token_id < _MAX_IDS:
            raise CheckpointError(f"tokenizer.json gives {name!r:.60} the id {token_id!r:.20}, which is no token id.")
        if names.setdefault(token_id, name) != name:
            raise CheckpointError(f"tokenizer.json gives the id {token_id} to both {names[token_id]!r} and {name!r}.")
    if not names:
        raise CheckpointError("tokenizer.json holds no tokens.")
    return names


def _added_entries(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = description.get("added_tokens") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CheckpointError("tokenizer.json: added_tokens must be a list of tokens.")
    return entries


def _is_sentencepiece(description: Mapping[str, Any]) -> bool:
    if any(part.get("type") == "ByteLevel" for part in _parts(description, "pre_tokenizer")):
        return False
    if description["model"].get("byte_fallback"):
        return True
    raise CheckpointError(
        "tokenizer.json is neither byte-level nor does it fall back to bytes, so it cannot write every text."
    )


def _byte_level_bytes(name: str) -> bytes:
    try:
        return bytes(_BYTE_OF[character] for character in name)
    except KeyError as error:
        raise CheckpointError(f"character {error} of token {name!r:.60} is not in the byte alphabet.") from error


def _sentencepiece_bytes(name: str) -> bytes:
    written = _BYTE_TOKEN.fullmatch(name)
    return bytes([int(written[1], 16)]) if written else name.replace(SPACE_MARK, " ").encode("utf-8")


_BYTE_OF = {character: byte for byte, character in enumerate(byte_alphabet())}


def _require_all_bytes(bytes_of: Sequence[bytes | None]) -> None:
    known = {data for data in bytes_of if data is not None and len(data) == 1}
    if len(known) < NUM_BYTES:
        raise CheckpointError(
            f"the tokenizer knows {len(known)} of the {NUM_BYTES} single bytes, so it cannot write every text."
        )


def _without_control_tokens(
    description: Mapping[str, Any], names: Mapping[int, str], *, size: int, texts: Mapping[int, str]
) -> dict[str, Any]:
    """Return a tokenizer.json that knows the text tokens alone, each with its own id.

    Every other id gets a name that no text can spell, because `tokenizers` counts added tokens on from the number of
    the others and would give them new ids where there are holes.
    """
    vocabulary = {texts.get(token_id, f"\x00{token_id}"): token_id for token_id in range(size)}
    hidden = {name for token_id, name in names.items() if token_id not in texts}
    merges = [merge for merge in description["model"].get("merges") or [] if _product(merge) not in hidden]
    model = {**description["model"], "vocab": vocabulary, "merges": merges, "unk_token": None}
    added = [entry for entry in _added_entries(description) if entry["id"] in texts]
    return {
        **copy.deepcopy({key: description.get(key) for key in ("version", "normalizer", "pre_tokenizer", "decoder")}),
        "truncation": None,
        "padding": None,
        "post_processor": None,
        "added_tokens": added,
        "model": model,
    }


def _product(merge: Any) -> str:
    """Return the token that a merge makes; it is written as a pair, or as two words."""
    return "".join(map(str, merge)) if isinstance(merge, list) else str(merge).replace(" ", "", 1)


def _parts(description: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the single steps of a normalizer, pre-tokenizer or decoder."""
    whole = description.get(key)
    if not isinstance(whole, dict):
        return []
    inner = whole.get("normalizers") or whole.get("pretokenizers") or whole.get("decoders") or [whole]
    return [part for part in inner if isinstance(part, dict)]


def _added_spaces(description: Mapping[str, Any]) -> tuple[bool, bool]:
    """Tell whether a space is put before a text, and whether also before one behind a control token."""
    if any(part.get("type") == "Prepend" for part in _parts(description, "normalizer")):
        return True, True
    for part in _parts(description, "pre_tokenizer"):
        if part.get("type") == "Metaspace":
            scheme = part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never")
            return scheme != "never", scheme == "always"
        if part.get("type") == "ByteLevel" and part.get("add_prefix_space"):
            return True, True
    return False, False


def _without_added_space(description: Mapping[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy({**description, "model": None})
    normalizers = [part for part in _parts(changed, "normalizer") if part.get("type") != "Prepend"]
    changed["normalizer"] = {"type": "Sequence", "normalizers": normalizers} if normalizers else None
    for part in _parts(changed, "pre_tokenizer"):
        if part.get("type") == "Metaspace":
            part["prepend_scheme"] = "never"
            part["add_prefix_space"] = False
        elif part.get("type") == "ByteLevel":
            part["add_prefix_space"] = False
    return {**changed, "model": description["model"]}
