"""Language modelling without a Transformer: interpolated n-grams of bytes, and the xz compressor."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import ConfigError, DataError

Keys: TypeAlias = NDArray[np.uint64]
Floats: TypeAlias = NDArray[np.float64]

MAX_ORDER = 8  # bytes that fit one 64-bit key
_NUM_BYTES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    """The counts of all n-grams of one length, each n-gram a number whose lowest byte is its last one."""

    grams: Keys
    gram_counts: Floats
    contexts: Keys
    context_counts: Floats
    context_types: Floats  # different bytes seen behind each context

    def interpolate(self, keys: Keys, lower: Floats) -> Floats:
        """Mix this level's relative frequencies with the probabilities of the level below."""
        num_seen = _look_up(keys, self.grams, self.gram_counts)
        context = keys >> np.uint64(8)
        total = _look_up(context, self.contexts, self.context_counts)
        types = _look_up(context, self.contexts, self.context_types)
        known = total > 0
        return np.where(known, (num_seen + types * lower) / np.where(known, total + types, 1.0), lower)


class ByteNgrams:
    """Predicts each byte of a text from the bytes before it, up to `order - 1` of them.

    Source: Witten and Bell 1991 (method C), interpolated down to the uniform distribution over 256 bytes.
    """

    def __init__(self, texts: Sequence[str], *, order: int) -> None:
        if not 1 <= order <= MAX_ORDER:
            raise ConfigError(f"order={order} of a byte n-gram model must lie between 1 and {MAX_ORDER}.")
        if not any(texts):
            raise DataError("a byte n-gram model cannot be counted on no text.")
        self._order = order
        keys = np.concatenate([_ngram_keys(text.encode(), order) for text in texts])
        self._levels = [_count(_shorten(keys, length)) for length in range(1, order + 1)]

    def probs(self, text: str) -> Floats:
        """Return the probability of every byte of a text, given the bytes before it."""
        keys = _ngram_keys(text.encode(), self._order)
        probs = np.full(len(keys), 1 / _NUM_BYTES)
        for length, level in enumerate(self._levels, start=1):
            probs = level.interpolate(_shorten(keys, length), probs)
        return probs

    def bits(self, texts: Sequence[str]) -> list[float]:
        """Return the bits each text costs."""
        return [float(-np.log2(self.probs(text)).sum()) for text in texts]


def _ngram_keys(data: bytes, order: int) -> Keys:
    """Return the n-gram that ends at every byte; before the first byte stand zeros."""
    padded = np.concatenate([np.zeros(order - 1, dtype=np.uint8), np.frombuffer(data, dtype=np.uint8)])
    keys = np.zeros(len(data), dtype=np.uint64)
    for offset in range(order):
        keys = (keys << np.uint64(8)) | padded[offset : offset + len(data)].astype(np.uint64)
    return keys


def _shorten(keys: Keys, length: int) -> Keys:
    """Keep the last `length` bytes of every n-gram."""
    return keys if length == MAX_ORDER else keys & np.uint64((1 << (8 * length)) - 1)


def _count(keys: Keys) -> _Level:
    grams, gram_counts = np.unique(keys, return_counts=True)
    contexts, first, types = np.unique(grams >> np.uint64(8), return_index=True, return_counts=True)
    return _Level(
        grams=grams,
        gram_counts=gram_counts.astype(np.float64),
        contexts=contexts,
        context_counts=np.add.reduceat(gram_counts, first).astype(np.float64),
        context_types=types.astype(np.float64),
    )


def _look_up(keys: Keys, known: Keys, values: Floats) -> Floats:
    """Return the value of every key, 0 for unknown ones."""
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[places] == keys, values[places], 0.0)


def xz_bits(train: Sequence[str], texts: Sequence[str], *, max_train_bytes: int = 4_000_000) -> list[float]:
    """Return the bits the texts add to a compressed file that already holds the training text.

    xz sees them all at once, so each text is charged its share by length. Only the last `max_train_bytes` of the
    training text are used: compressing more takes long.
    """
    before = "".join(train).encode()[-max_train_bytes:]
    sizes = [len(text.encode()) for text in texts]
    added_bytes = len(_compress(before + "".join(texts).encode())) - len(_compress(before))
    return [8 * added_bytes * size / max(sum(sizes), 1) for size in sizes]


def _compress(data: bytes) -> bytes:
    return lzma.compress(data, preset=9)
