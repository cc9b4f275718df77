"""Texts and JSON values as compressed bytes, and back, unchanged to the last character.

JSON is written in ASCII, so that a NUL or a lone surrogate in a request is kept and no database can refuse it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import zstandard

from banyan.core.errors import StoreError

_HINT = "banyan db verify tells which rows are damaged"


def pack_bytes(data: bytes) -> bytes:
    """Compress bytes."""
    return zstandard.ZstdCompressor(level=3).compress(data)


def unpack_bytes(data: bytes) -> bytes:
    """Return the bytes that `pack_bytes` compressed.

    Raises: StoreError if they are damaged.
    """
    try:
        return zstandard.ZstdDecompressor().decompress(data)
    except (zstandard.ZstdError, TypeError) as error:
        raise StoreError(f"stored bytes cannot be unpacked: {error}.", hint=_HINT) from error


def pack_text(text: str) -> bytes:
    """Compress a text."""
    return pack_bytes(text.encode("utf-8", "surrogatepass"))


def unpack_text(data: bytes) -> str:
    """Return the text that `pack_text` compressed.

    Raises: StoreError if the bytes are damaged.
    """
    try:
        return zstandard.ZstdDecompressor().decompress(data).decode("utf-8", "surrogatepass")
    except (zstandard.ZstdError, UnicodeDecodeError, TypeError) as error:
        raise StoreError(f"a stored text cannot be unpacked: {error}.", hint=_HINT) from error


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonical_json(value: Any) -> str:
    """Write a JSON value in its one form: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def pack_json(value: Any) -> bytes:
    """Compress a JSON value, its keys in their own order.

    Raises: ValueError or TypeError for what JSON does not know (NaN, objects).
    """
    return pack_text(json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=True, allow_nan=False))


def unpack_json(data: bytes) -> Any:
    """Return the value that `pack_json` compressed.

    Raises: StoreError if the bytes are damaged.
    """
    try:
        return json.loads(unpack_text(data))
    except json.JSONDecodeError as error:
        raise StoreError(f"a stored value is not JSON: {error}.", hint=_HINT) from error


def pack_optional_json(value: Any | None) -> bytes | None:
    """Compress a JSON value; None stays None."""
    return None if value is None else pack_json(value)


def unpack_optional_json(data: bytes | None) -> Any:
    """Return the value that `pack_optional_json` compressed."""
    return None if data is None else unpack_json(data)


def pack_ids(token_ids: Sequence[int]) -> bytes:
    """Write token ids as little-endian int32."""
    return struct.pack(f"<{len(token_ids)}i", *token_ids)


def unpack_ids(data: bytes) -> tuple[int, ...]:
    """Return the ids that `pack_ids` wrote."""
    return struct.unpack(f"<{len(data) // 4}i", data)


def strings_in(value: Any, *, without: Collection[str] = ()) -> Iterator[str]:
    """Yield every text inside a JSON value, in order; keys, and what lies under the keys named, are left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in without:
                yield from strings_in(item, without=without)
    elif isinstance(value, Sequence):
        for item in value:
            yield from strings_in(item, without=without)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
