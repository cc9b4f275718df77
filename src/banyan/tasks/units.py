"""Units of a text: words and punctuation marks of spaced scripts, single characters of unspaced ones, with offsets.

Tags and spans begin and end at units. Each unit is encoded on its own, together with the gap before it, so that no
token ever reaches over the border of two units; the tokens of all units in a row still decode to the exact text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from banyan.core.errors import DataError
from banyan.tokenizers.vocabulary import Vocabulary

UnitKind: TypeAlias = Literal["word", "character"]

# Scripts written without spaces: Han, kana, and their full-width marks. (Hangul is written with spaces.)
UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
UNSPACED_MARKS = "\u3000-\u303f\uff00-\uffef"
_UNSPACED_CHARACTER = re.compile(f"[{UNSPACED}]")
_UNSPACED_OR_MARK = re.compile(f"[{UNSPACED}{UNSPACED_MARKS}]")
_UNIT = re.compile(rf"[{UNSPACED}]|'(?i:s|t|re|ve|m|ll|d)\b|(?:(?![{UNSPACED}])\w)+|[^\w\s]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A stretch of a text, in characters, end exclusive."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedUnits:
    """The tokens of the units of a text, without what follows the last unit.

    `token_units[i]` is the number of the unit that token i belongs to.
    """

    token_ids: tuple[int, ...]
    token_units: tuple[int, ...]

    def last_tokens(self) -> tuple[int, ...]:
        """Return the index of the last token of every unit."""
        following = (*self.token_units[1:], -1)
        return tuple(at for at, unit in enumerate(self.token_units) if unit != following[at])


def has_unspaced_script(text: str) -> bool:
    """Is any character of the text Han or kana?"""
    return _UNSPACED_CHARACTER.search(text) is not None


def touches_unspaced(character: str) -> bool:
    """Is a character one beside which no space is written: Han, kana, or one of their marks?"""
    return _UNSPACED_OR_MARK.match(character) is not None


def split_units(text: str, kind: UnitKind = "word") -> tuple[Unit, ...]:
    """Split a text into its units; "character" makes every character a unit, spaces included."""
    if kind == "character":
        return tuple(Unit(start=at, end=at + 1) for at in range(len(text)))
    return tuple(Unit(start=match.start(), end=match.end()) for match in _UNIT.finditer(text))


def words(text: str) -> list[str]:
    """Return the units of a text as strings."""
    return [text[unit.start : unit.end] for unit in split_units(text)]


def join_words(tokens: Sequence[str]) -> tuple[str, tuple[Unit, ...]]:
    """Put words back into a text: a space between words, none beside Han or kana.

    Rows of single characters that hold some Han or kana (the usual form of Chinese CoNLL files) are joined directly.
    Raises: DataError for a word that is empty.
    """
    if not all(tokens):
        raise DataError(f"word {tokens.index('') + 1} of the row is empty; every word needs a character.")
    by_character = all(len(token) == 1 for token in tokens) and has_unspaced_script("".join(tokens))
    text, units = "", []
    for token in tokens:
        touches = touches_unspaced(token[0]) or touches_unspaced(text[-1:])
        if text and not by_character and not touches:
            text += " "
        units.append(Unit(start=len(text), end=len(text) + len(token)))
        text += token
    return text, tuple(units)


def find_words(text: str, tokens: Sequence[str]) -> tuple[Unit, ...]:
    """Find words in the text they were taken from, in their order.

    Raises: DataError for a word that is empty or does not occur in the rest of the text.
    """
    units: list[Unit] = []
    at = 0
    for number, token in enumerate(tokens, start=1):
        start = text.find(token, at) if token else -1
        if start < 0:
            raise DataError(f"word {number} of the row does not occur in its text after character {at}.")
        at = start + len(token)
        units.append(Unit(start=start, end=at))
    return tuple(units)


def encode_units(
    text: str, units: Sequence[Unit], vocabulary: Vocabulary, *, change: Callable[[str], str] = str
) -> EncodedUnits:
    """Encode a text unit by unit, each as `change` makes it."""
    token_ids: list[int] = []
    token_units: list[int] = []
    at = 0
    for number, unit in enumerate(units):
        ids = _encode_piece(vocabulary, text[at : unit.start] + change(text[unit.start : unit.end]))
        token_ids.extend(ids)
        token_units.extend([number] * len(ids))
        at = unit.end
    return EncodedUnits(token_ids=tuple(token_ids), token_units=tuple(token_units))


@lru_cache(maxsize=100_000)
def _encode_piece(vocabulary: Vocabulary, piece: str) -> tuple[int, ...]:
    """Encode one unit; words come again and again, and each call of the tokenizer costs more than looking one up."""
    return tuple(vocabulary.encode_inside(piece))
