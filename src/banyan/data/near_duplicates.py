"""Texts that are nearly the same: guessed by MinHash, confirmed by counting the pairs of words they share.

Words of a script without spaces (Han, kana) are single characters, so that both kinds of text are treated alike.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOWEST_SHARE = 0.7  # below it too many pairs of texts would be missed
_NUM_BANDS, _BAND_ROWS = 16, 4  # a text that shares 3/4 of the pairs is found 998 times in 1000, one with 1/3 in 180
_MAX_CONFIRMED = 20  # texts looked at closely, those first that agree in most bands
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprints:
    """What is remembered of a text."""

    pairs: NDArray[np.uint64]  # a hash of each two words that follow each other, every one once, sorted
    bands: tuple[bytes, ...]  # texts that agree in one of them are probably alike


class Fingerprinter:
    """Makes fingerprints that can be compared with each other; the same texts in the same order give the same ones.

    Source: Broder 1997 (resemblance, MinHash); banding as in Leskovec, Rajaraman and Ullman (Mining of
    Massive Datasets, section 3.4).
    """

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self._numbers: dict[str, int] = {}
        self._factors = generator.integers(0, 2**63, size=(_NUM_BANDS * _BAND_ROWS, 1), dtype=np.uint64) * np.uint64(
            2
        ) + np.uint64(1)

    def of(self, plain_text: str) -> Fingerprints | None:
        """Return the fingerprints of a text in its plain form; None for one that has no pair of words."""
        numbers = self._numbers
        ids = np.array(
            [numbers.setdefault(word, len(numbers) + 1) for word in _WORD.findall(plain_text)], dtype=np.uint64
        )
        if len(ids) < 2:
            return None
        pairs = np.unique(_mixed(_mixed(ids[:-1]) ^ ids[1:]))
        lowest = np.concatenate(
            [((self._factors * part) >> _HALF).min(axis=1, keepdims=True) for part in _parts(pairs)], axis=1
        ).min(axis=1)
        return Fingerprints(pairs=pairs, bands=tuple(band.tobytes() for band in lowest.reshape(_NUM_BANDS, _BAND_ROWS)))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    hashes = values * _MIX  # wraps around on purpose: arithmetic modulo 2**64
    return hashes ^ (hashes >> _HALF)


def _parts(pairs: NDArray[np.uint64]) -> list[NDArray[np.uint64]]:
    """Return the pairs of a long text in parts, so that no huge table is made of them."""
    return np.split(pairs, range(8192, len(pairs), 8192))


class NearIndex:
    """Finds, among the texts it was given, one that shares most pairs of words with another text."""

    def __init__(self) -> None:
        self.texts: list[Fingerprints] = []
        self._places: list[defaultdict[bytes, list[int]]] = [defaultdict(list) for _ in range(_NUM_BANDS)]

    def add(self, text: Fingerprints) -> None:
        """Remember a text under the next number."""
        for places, band in zip(self._places, text.bands, strict=True):
            places[band].append(len(self.texts))
        self.texts.append(text)

    def find(self, text: Fingerprints, *, share: float) -> tuple[int, float] | None:
        """Return the number of a text that shares so many of all their pairs, and how many; None if there is none."""
        agreeing = Counter(
            number
            for places, band in zip(self._places, text.bands, strict=True)
            for number in places.get(band, ())[:_MAX_CONFIRMED]
        )
        best = max(
            ((shared_pairs(self.texts[number], text), -number) for number, _ in agreeing.most_common(_MAX_CONFIRMED)),
            default=(0.0, 0),
        )
        return (-best[1], best[0]) if best[0] >= share else None


def shared_pairs(first: Fingerprints, second: Fingerprints) -> float:
    """Return the share of all pairs of two texts that stand in both (their Jaccard index)."""
    num_both = len(np.intersect1d(first.pairs, second.pairs, assume_unique=True))
    return num_both / (len(first.pairs) + len(second.pairs) - num_both)
