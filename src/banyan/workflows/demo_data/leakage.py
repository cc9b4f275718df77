"""Does a held-out example stand in the training data of any task, under another name or as part of a longer text?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from banyan.core.types import Row

_RUN = 8  # words in a row that count as copied
_COPIED_SHARE = 0.5  # of a text's runs; from here on the text counts as seen
_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True, slots=True)
class LeakageReport:
    """What the check found, by task."""

    num_checked: dict[str, int]  # validation and test examples that were kept
    num_dropped: dict[str, int]  # candidates left out because their source stands in training data
    leaked: dict[str, int]  # kept examples whose source stands in a training file all the same; must be 0

    @property
    def is_clean(self) -> bool:
        """Is no held-out source in any training file?"""
        return not any(self.leaked.values())


def sources_of(row: Row) -> list[str]:
    """Return the texts a model is shown in a row, without the answer; a picture stands for itself."""
    if "image" in row:
        return ["pixels:" + bytes(row["image"]["pixels"]).hex()]  # one word: only the same picture is a copy
    if "translation" in row:
        return [row["translation"][row["source_language"]]]
    if "messages" in row:
        return [message["content"] for message in row["messages"] if message["role"] == "user"][:1]
    return [next(row[name] for name in ("context", "document", "text") if name in row)]


def training_texts_of(row: Row) -> list[str]:
    """Return every text of a training row that a held-out source may not be found in; long texts also by line."""
    if "translation" in row:
        return list(row["translation"].values())
    texts = sources_of(row)
    return texts + [line for text in texts if "\n" in text for line in text.splitlines()]


class TrainingText:
    """Remembers all training texts: each one whole and by line, and every run of eight words in them."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._whole: set[str] = set()
        self._numbers: dict[str, int] = {}
        runs: list[NDArray[np.uint64]] = []
        for row in rows:
            self._whole.update(_squeeze(text) for text in training_texts_of(row))
            runs.extend(self._runs(text) for text in sources_of(row))
        self._run_hashes = np.unique(np.concatenate(runs)) if runs else np.zeros(0, dtype=np.uint64)

    def holds(self, text: str) -> bool:
        """Does the text, apart from spaces and case, stand in the training texts, or at least half of its runs?"""
        if _squeeze(text) in self._whole:
            return True
        runs = self._runs(text)
        if not len(runs) or not len(self._run_hashes):
            return False
        places = np.minimum(np.searchsorted(self._run_hashes, runs), len(self._run_hashes) - 1)
        return bool(np.mean(self._run_hashes[places] == runs) >= _COPIED_SHARE)

    def holds_any(self, row: Row) -> bool:
        """Is any source of the row in the training texts?"""
        return any(self.holds(text) for text in sources_of(row))

    def _runs(self, text: str) -> NDArray[np.uint64]:
        """Return a hash of every eight words in a row, from numbers given to the words as they come."""
        numbers = self._numbers
        ids = [numbers.setdefault(word, len(numbers) + 1) for word in _WORD.findall(text.casefold())]
        words = np.array(ids, dtype=np.uint64)
        if len(words) < _RUN:
            return np.zeros(0, dtype=np.uint64)
        hashes = np.zeros(len(words) - _RUN + 1, dtype=np.uint64)
        for offset in range(_RUN):  # wraps around on purpose: arithmetic modulo 2**64
            hashes = (hashes ^ words[offset : offset + len(hashes)]) * _MULTIPLIER
            hashes ^= hashes >> np.uint64(29)
        return hashes


def count_leaks(training: TrainingText, held_out: Mapping[str, Sequence[Row]]) -> dict[str, int]:
    """Return, for each task, how many of its held-out rows stand in the training texts."""
    return {task: sum(training.holds_any(row) for row in rows) for task, rows in held_out.items()}


def _squeeze(text: str) -> str:
    return "".join(text.split()).casefold()
