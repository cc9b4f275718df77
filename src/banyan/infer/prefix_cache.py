"""Beginnings of prompts that were read before: what the cache held after each whole piece, to be read no second time.

A piece is found by a hash over everything before it, the adapter that read it and the salt of whoever asked, so that
nobody can learn from the time an answer takes what somebody else has asked. The tokens are compared all the same.
"""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from banyan.model.kv_cache import KVPart

PIECE = 64  # tokens; prompts are read and remembered in pieces that begin at multiples of it


@dataclass(frozen=True, kw_only=True, slots=True)
class PieceKey:
    """Names one whole piece of a prompt, with all that it depends on."""

    digest: bytes
    token_ids: tuple[int, ...]


def piece_keys(token_ids: Sequence[int], *, salt: str, adapter: str | None) -> list[PieceKey]:
    """Return the keys of the whole pieces of a prompt, from its beginning on."""
    digest = sha256(json.dumps(["banyan prefix", {"adapter": adapter, "salt": salt}]).encode()).digest()
    keys = []
    for start in range(0, len(token_ids) - PIECE + 1, PIECE):
        piece = tuple(token_ids[start : start + PIECE])
        digest = sha256(digest + struct.pack(f"<{PIECE}q", *piece)).digest()
        keys.append(PieceKey(digest=digest, token_ids=piece))
    return keys


class PrefixCache:
    """Keeps the pieces that were used last, in no more memory than it is given."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: OrderedDict[bytes, tuple[PieceKey, KVPart]] = OrderedDict()  # the longest unused first
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def is_on(self) -> bool:
        """Whether anything is remembered at all."""
        return self._max_bytes > 0

    def find(self, keys: Sequence[PieceKey]) -> list[KVPart]:
        """Return the parts of as many pieces as are known, from the first on."""
        found: list[KVPart] = []
        for key in keys:
            known, part = self._parts.get(key.digest, (None, None))
            if part is None or known != key:
                break
            found.append(part)
        # What comes later in a prompt is forgotten sooner, for without what comes before it nothing can be found.
        for key in reversed(keys[: len(found)]):
            self._parts.move_to_end(key.digest)
        return found

    def keep(self, key: PieceKey, part: KVPart) -> None:
        """Remember one piece, and forget what was not used for the longest time if there is no more room."""
        if key.digest in self._parts or part.num_bytes > self._max_bytes:
            return
        self._parts[key.digest] = (key, part)
        self.num_bytes += part.num_bytes
        while self.num_bytes > self._max_bytes:
            _, (_, oldest) = self._parts.popitem(last=False)
            self.num_bytes -= oldest.num_bytes
