"""One name for a prompt's token ids, the same in training, prediction and serving."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import sha256


def hash_token_ids(prompts: Iterable[Sequence[int]]) -> str:
    """Return the SHA-256 of token ids as little-endian int32, prompt after prompt."""
    digest = sha256()
    for token_ids in prompts:
        digest.update(struct.pack(f"<{len(token_ids)}i", *token_ids))
    return digest.hexdigest()
