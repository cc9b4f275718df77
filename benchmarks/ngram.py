"""A counted n-gram model: what a text's statistics alone are worth, without anything learned by gradient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def witten_bell_loss(train: bytes, validation: bytes, *, order: int, vocab_size: int) -> float:
    """Return the loss of an interpolated Witten-Bell model of bytes, in nats a byte.

    Each context of n bytes trusts its own counts as far as it has seen the same successors again, and the context
    of n - 1 bytes for the rest: p = (count + kinds · p_shorter) / (total + kinds).
    Source: Witten and Bell 1991, method C; interpolated as in Chen and Goodman 1999.
    """
    seen, asked = (np.frombuffer(text, dtype=np.uint8).astype(np.int64) for text in (train, validation))
    probs = np.full(len(asked) - 1, 1.0 / vocab_size)
    for length in range(order):
        pairs, pair_counts = np.unique(_coded(seen, length + 1), return_counts=True)
        contexts, kinds = np.unique(pairs >> 8, return_counts=True)
        totals = np.add.reduceat(pair_counts, np.searchsorted(pairs >> 8, contexts))
        wanted = _coded(asked, length + 1)[-(len(asked) - max(1, length)) :]  # one per byte that has such a context
        count = _look_up(wanted, pairs, pair_counts)
        total, kind = (_look_up(wanted >> 8, contexts, values) for values in (totals, kinds))
        shorter = probs[-len(wanted) :]
        probs[-len(wanted) :] = np.where(total > 0, (count + kind * shorter) / np.maximum(total + kind, 1), shorter)
    return float(-np.log(probs).mean())


def _coded(text: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return every stretch of `length` bytes as one number, the first byte highest."""
    codes = np.zeros(len(text) - length + 1, dtype=np.int64)
    for offset in range(length):
        codes = (codes << 8) | text[offset : len(text) - length + 1 + offset]
    return codes


def _look_up(wanted: NDArray[np.int64], known: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the value of each wanted number; 0 for one that is not known."""
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[places] == wanted, values[places], 0)
