"""A text as words that may be changed, and stretches that must stay because an answer lies in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeAlias

from banyan.tasks.units import Unit, split_units, touches_unspaced

Stretch: TypeAlias = tuple[int, int]  # first character and the one behind the last
WordSplitter: TypeAlias = Callable[[str], tuple[Unit, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word, a mark, a Han character, or a stretch of several that must stay as it is."""

    text: str
    gap: str = ""  # what stands between it and the word before
    origin: int | None = None  # where a stretch that must stay began, in characters; None: it need not

    @property
    def may_change(self) -> bool:
        """Whether it is a word (no mark) that no answer needs."""
        return self.origin is None and any(character.isalnum() for character in self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A text in words; the words with their gaps, and the ending, are the text."""

    words: tuple[Word, ...]
    ending: str = ""  # what follows the last word

    @property
    def text(self) -> str:
        """The text itself."""
        return "".join(word.gap + word.text for word in self.words) + self.ending

    def starts(self) -> tuple[int, ...]:
        """Return where each word begins, in characters."""
        lengths = (len(word.gap) + len(word.text) for word in self.words)
        return tuple(end - len(word.text) for end, word in zip(accumulate(lengths), self.words, strict=True))

    def places(self) -> Mapping[int, int]:
        """Return where each stretch that had to stay begins now, by where it began."""
        pairs = zip(self.words, self.starts(), strict=True)
        return {word.origin: start for word, start in pairs if word.origin is not None}


def split_passage(text: str, *, units: Sequence[Unit] | None = None, kept: Sequence[Stretch] = ()) -> Passage:
    """Cut a text into its units, those that a kept stretch touches joined into one word that stays.

    `units` are words and Han characters unless given.
    """
    units = split_units(text) if units is None else units
    is_kept, is_joined = _kept_units(units, kept)
    words: list[Word] = []
    at = 0
    for number, unit in enumerate(units):
        if number in is_joined:
            words[-1] = replace(words[-1], text=words[-1].text + text[at : unit.end])
        else:
            origin = unit.start if number in is_kept else None
            words.append(Word(text=text[unit.start : unit.end], gap=text[at : unit.start], origin=origin))
        at = unit.end
    return Passage(words=tuple(words), ending=text[at:])


def _kept_units(units: Sequence[Unit], kept: Sequence[Stretch]) -> tuple[set[int], set[int]]:
    """Return the numbers of the units that must stay, and of those that stay together with the one before."""
    is_kept: set[int] = set()
    is_joined: set[int] = set()
    for start, end in kept:
        touched = [number for number, unit in enumerate(units) if unit.start < end and unit.end > start]
        is_kept.update(touched)
        is_joined.update(touched[1:])
    return is_kept, is_joined


def gap_between(left: str, right: str) -> str:
    """Return what is written between two words: a space, or nothing beside Han and kana."""
    return "" if touches_unspaced(left[-1:]) or touches_unspaced(right[:1]) else " "


def longest_words(dictionary: Sequence[str]) -> WordSplitter:
    """Return a splitter that takes Han characters together which are a word of the dictionary, the longest first.

    So Chinese can be changed word by word; what is in no word stays a character of its own.
    """
    known = frozenset(dictionary)
    longest = max(map(len, known), default=1)

    def split(text: str) -> tuple[Unit, ...]:
        found: list[Unit] = []
        for unit in split_units(text):
            if found and unit.start < found[-1].end:
                continue  # inside a word that was taken already
            lengths = range(longest, 1, -1) if touches_unspaced(text[unit.start]) else ()
            end = next((unit.start + n for n in lengths if text[unit.start : unit.start + n] in known), unit.end)
            found.append(Unit(start=unit.start, end=end))
        return tuple(found)

    return split
