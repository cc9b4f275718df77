"""Looking over rows before they are learned from: duplicates, leakage between splits, encoding problems.

Two texts count as the same if they agree after NFKC, lower-casing and removing punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

from banyan.core.types import Row
from banyan.data.catalog_rows import source_text

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOT_A_WORD = re.compile(r"[\W_]+")
# What UTF-8 looks like after somebody has read it as Latin-1 or Windows-1252 and saved it again.
_MOJIBAKE = re.compile("Ã[\x80-\xbf]|â€[\x80-\xbf™œžš¦¢“”]|ï»¿|[äåæçè][\x80-\xbf]{2}")
_ANSWERS = ("label", "label_name", "tags", "answers", "summary", "translation", "messages")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitReport:
    """What was found in one split."""

    split: str
    num_rows: int = 0
    num_blank: int = 0  # nothing to ask a model
    num_duplicates: int = 0  # rows whose source stands in an earlier row of the split
    num_conflicts: int = 0  # of those, with another answer than the first
    num_replacement: int = 0  # rows with U+FFFD: bytes that somebody could not decode
    num_control: int = 0  # rows with control characters
    num_mojibake: int = 0  # rows with text that was decoded with the wrong table


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Rows of one split that stand in a split before it."""

    split: str
    also_in: str
    num_rows: int
    example: str  # the beginning of one of them


@dataclass(frozen=True, kw_only=True, slots=True)
class DataReport:
    """What was found in a data set."""

    splits: tuple[SplitReport, ...]
    leaks: tuple[Leak, ...]

    @property
    def is_leaky(self) -> bool:
        """Whether a row of one split stands in another."""
        return bool(self.leaks)


def check_splits(splits: Mapping[str, Iterable[Row]]) -> DataReport:
    """Read every split once and report on it; the splits are compared in the order given, training first."""
    reports: list[SplitReport] = []
    leaks: list[Leak] = []
    seen: dict[str, dict[bytes, bytes]] = {}  # split → fingerprint of a source → fingerprint of its answer
    for split, rows in splits.items():
        look = _SplitLook(split, earlier=seen)
        for row in rows:
            look.at(row)
        reports.append(look.report())
        leaks.extend(look.leaks())
        seen[split] = look.answers
    return DataReport(splits=tuple(reports), leaks=tuple(leaks))


def plain_form(text: str) -> str:
    """Return a text after NFKC and lower-casing, its words joined by single spaces; signs alone stay as they are."""
    lowered = unicodedata.normalize("NFKC", text).lower()
    return " ".join(_NOT_A_WORD.split(lowered)).strip() or lowered.strip()


def source_fingerprint(row: Row) -> bytes | None:
    """Return 16 bytes that rows share if they ask a model the same; None if a row asks nothing."""
    source = source_text(row)
    if not source or (isinstance(source, str) and not source.strip()):
        return None
    return _fingerprint(source)


class _SplitLook:
    """Counts what one split holds, row by row; texts are kept as 16-byte fingerprints only."""

    def __init__(self, split: str, *, earlier: Mapping[str, Mapping[bytes, bytes]]) -> None:
        self.answers: dict[bytes, bytes] = {}
        self._split = split
        self._earlier = earlier
        self._counts = {field.name: 0 for field in fields(SplitReport) if field.name.startswith("num_")}
        self._leaks: dict[str, tuple[int, str]] = {}

    def at(self, row: Row) -> None:
        """Look at one row."""
        self._counts["num_rows"] += 1
        self._look_at_characters(row)
        source = source_text(row)
        fingerprint = source_fingerprint(row)
        if source is None or fingerprint is None:
            self._counts["num_blank"] += 1
            return
        answer = _fingerprint(repr([row.get(name) for name in _ANSWERS]))
        if fingerprint in self.answers:
            self._counts["num_duplicates"] += 1
            self._counts["num_conflicts"] += self.answers[fingerprint] != answer
        else:
            self.answers[fingerprint] = answer
            self._look_for_leak(fingerprint, source)

    def report(self) -> SplitReport:
        """Return the counts."""
        return SplitReport(split=self._split, **self._counts)

    def leaks(self) -> Iterator[Leak]:
        """Yield what stands in an earlier split, too."""
        for other, (count, example) in self._leaks.items():
            yield Leak(split=self._split, also_in=other, num_rows=count, example=example)

    def _look_for_leak(self, fingerprint: bytes, source: str | bytes) -> None:
        for other, fingerprints in self._earlier.items():
            if fingerprint in fingerprints:
                count, example = self._leaks.get(other, (0, _beginning(source)))
                self._leaks[other] = (count + 1, example)

    def _look_at_characters(self, row: Row) -> None:
        texts = list(strings_of(row))
        self._counts["num_replacement"] += any("\ufffd" in text for text in texts)
        self._counts["num_control"] += any(_CONTROL.search(text) for text in texts)
        self._counts["num_mojibake"] += any(_MOJIBAKE.search(text) for text in texts)


def strings_of(value: Any) -> Iterator[str]:
    """Yield every text inside a row, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_of(item)


def _fingerprint(source: str | bytes) -> bytes:
    data = source if isinstance(source, bytes) else plain_form(source).encode("utf-8", "surrogatepass")
    return sha256(data).digest()[:16]


def _beginning(source: str | bytes) -> str:
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else " ".join(source[:200].split())[:60]
