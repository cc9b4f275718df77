"""A hash that is the same on every machine and in every process."""

from __future__ import annotations

from hashlib import sha256


def stable_hash(key: str) -> int:
    """Return a number below 2**64 that depends on the key alone."""
    return int.from_bytes(sha256(key.encode("utf-8", errors="surrogatepass")).digest()[:8], "big")
