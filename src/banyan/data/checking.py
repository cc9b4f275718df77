"""Looking over rows before they are learned from: duplicates, leakage between splits, encoding problems.

Two texts count as the same if they agree after NFKC, lower-casing and removing punctuation; as nearly the same if they
share most of their pairs of neighbouring words (of characters in Han and kana).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

from banyan.core.types import Row
from banyan.data.catalog_rows import ANSWERS, source_text
from banyan.data.near_duplicates import Fingerprinter, NearIndex

NEARLY = 0.75  # share of pairs of words from which two texts count as nearly the same
_NUM_EXAMPLES = 3
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NOT_A_WORD = re.compile(r"[\W_]+")
# What UTF-8 looks like after somebody has read it as Latin-1 or Windows-1252 and saved it again.
_MOJIBAKE = re.compile("Ã[\x80-\xbf]|â€[\x80-\xbf™œžš¦¢“”]|ï»¿|[äåæçè][\x80-\xbf]{2}")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitReport:
    """What was found in one split."""

    split: str
    num_rows: int = 0
    num_blank: int = 0  # nothing to ask a model
    num_duplicates: int = 0  # rows whose source stands in an earlier row of the split
    num_conflicts: int = 0  # of those, with another answer than the first
    num_near_duplicates: int = 0  # further rows whose source is nearly that of an earlier row
    num_replacement: int = 0  # rows with U+FFFD: bytes that somebody could not decode
    num_control: int = 0  # rows with control characters
    num_mojibake: int = 0  # rows with text that was decoded with the wrong table


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """Rows of one split that stand in a split before it."""

    split: str
    also_in: str
    num_rows: int  # different ones
    examples: tuple[str, ...]  # the beginnings of the first ones


@dataclass(frozen=True, kw_only=True, slots=True)
class NearPair:
    """Two texts that are nearly the same."""

    text: str  # the beginning
    other: str
    share: float  # of all their pairs of words, those in both


@dataclass(frozen=True, kw_only=True, slots=True)
class NearLeak:
    """Rows of one split, besides the leaked ones, that stand nearly so in a split before it."""

    split: str
    also_in: str
    num_rows: int  # different ones
    examples: tuple[NearPair, ...]  # the first ones


@dataclass(frozen=True, kw_only=True, slots=True)
class DataReport:
    """What was found in a data set."""

    splits: tuple[SplitReport, ...]
    leaks: tuple[Leak, ...]
    near_leaks: tuple[NearLeak, ...] = ()

    @property
    def is_leaky(self) -> bool:
        """Whether a row of one split stands in another."""
        return bool(self.leaks)


def check_splits(splits: Mapping[str, Iterable[Row]], *, share: float | None = NEARLY) -> DataReport:
    """Read every split once and report on it; the splits are compared in the order given, training first.

    `share` is how many of the pairs of words make texts nearly the same; None: only the same texts are looked for.
    """
    look = Look(share=share)
    contents = [look.read(split, rows) for split, rows in splits.items()]
    return look.report(contents, [(later, earlier) for at, later in enumerate(contents) for earlier in contents[:at]])


def plain_form(text: str) -> str:
    """Return a text after NFKC and lower-casing, its words joined by single spaces; signs alone stay as they are."""
    lowered = unicodedata.normalize("NFKC", text).lower()
    return " ".join(_NOT_A_WORD.split(lowered)).strip() or lowered.strip()


def source_fingerprint(row: Row) -> bytes | None:
    """Return 16 bytes that rows share if they ask a model the same; None if a row asks nothing."""
    source = source_text(row)
    if not source or (isinstance(source, str) and not source.strip()):
        return None
    return _digest(source if isinstance(source, bytes) else plain_form(source))


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What is remembered of a split: fingerprints of its texts, and their beginnings."""

    report: SplitReport
    beginnings: Mapping[bytes, str]  # of every different source, by its fingerprint
    near: NearIndex
    near_keys: tuple[bytes, ...]  # the source of each text in `near`


class Look:
    """Reads splits, and says what of one stands in another."""

    def __init__(self, *, share: float | None = NEARLY) -> None:
        self._share = share
        self._fingerprinter = Fingerprinter()

    def read(self, split: str, rows: Iterable[Row]) -> Contents:
        """Read the rows of a split once; of its texts only fingerprints and beginnings are kept."""
        counts = {field.name: 0 for field in fields(SplitReport) if field.name.startswith("num_")}
        answers: dict[bytes, bytes] = {}
        beginnings: dict[bytes, str] = {}
        near, near_keys = NearIndex(), []
        for row in rows:
            counts["num_rows"] += 1
            _count_characters(row, counts)
            source, key = source_text(row), source_fingerprint(row)
            if source is None or key is None:
                counts["num_blank"] += 1
                continue
            answer = _digest(plain_form(repr([row.get(name) for name in ANSWERS])))
            if key in answers:
                counts["num_duplicates"] += 1
                counts["num_conflicts"] += answers[key] != answer
                continue
            answers[key], beginnings[key] = answer, _beginning(source)
            if self._share is None or isinstance(source, bytes):
                continue
            if (text := self._fingerprinter.of(plain_form(source))) is not None:
                counts["num_near_duplicates"] += near.find(text, share=self._share) is not None
                near.add(text)
                near_keys.append(key)
        report = SplitReport(split=split, **counts)
        return Contents(report=report, beginnings=beginnings, near=near, near_keys=tuple(near_keys))

    def report(self, contents: Sequence[Contents], pairs: Sequence[tuple[Contents, Contents]]) -> DataReport:
        """Return what was found in splits, and what stands in both of each pair of them."""
        return DataReport(
            splits=tuple(content.report for content in contents),
            leaks=tuple(leak for pair in pairs if (leak := self.leak(*pair)) is not None),
            near_leaks=tuple(near for pair in pairs if (near := self.near_leak(*pair)) is not None),
        )

    def leak(self, later: Contents, earlier: Contents) -> Leak | None:
        """Return what of one split stands in another, if anything does."""
        found = [text for key, text in later.beginnings.items() if key in earlier.beginnings]
        if not found:
            return None
        return Leak(
            split=later.report.split,
            also_in=earlier.report.split,
            num_rows=len(found),
            examples=tuple(found[:_NUM_EXAMPLES]),
        )

    def near_leak(self, later: Contents, earlier: Contents) -> NearLeak | None:
        """Return what of one split stands nearly so in another, if anything does; what leaks does not count again."""
        found = list(self._near_pairs(later, earlier))
        if not found:
            return None
        return NearLeak(
            split=later.report.split,
            also_in=earlier.report.split,
            num_rows=len(found),
            examples=tuple(found[:_NUM_EXAMPLES]),
        )

    def _near_pairs(self, later: Contents, earlier: Contents) -> Iterator[NearPair]:
        if self._share is None:
            return
        for key, text in zip(later.near_keys, later.near.texts, strict=True):
            if key in earlier.beginnings:
                continue
            if (found := earlier.near.find(text, share=self._share)) is not None:
                number, share = found
                other = earlier.beginnings[earlier.near_keys[number]]
                yield NearPair(text=later.beginnings[key], other=other, share=share)


def _count_characters(row: Row, counts: dict[str, int]) -> None:
    texts = list(strings_of(row))
    counts["num_replacement"] += any("\ufffd" in text for text in texts)
    counts["num_control"] += any(_CONTROL.search(text) for text in texts)
    counts["num_mojibake"] += any(_MOJIBAKE.search(text) for text in texts)


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


def _digest(source: str | bytes) -> bytes:
    data = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    return sha256(data).digest()[:16]


def _beginning(source: str | bytes) -> str:
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else " ".join(source[:400].split())[:120]
