"""A context-free grammar over bytes, built rule by rule; it decides nothing, it only says what may be written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from banyan.core.errors import InputError

MAX_SYMBOLS = 100_000  # of all ways of all rules together

Symbol: TypeAlias = int  # 0 and above: a class of bytes; below: rule -1 - symbol
Sequence_: TypeAlias = tuple[Symbol, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Grammar:
    """The texts of one form. Two grammars are never equal, so each can be the key of what was worked out from it."""

    classes: tuple[frozenset[int], ...]
    rules: tuple[tuple[Sequence_, ...], ...]  # the ways to write each
    start: Sequence_
    num_bytes: tuple[int, ...]  # of the shortest text of each rule


class GrammarBuilder:
    """Collects classes and rules; equal ones are kept once.

    Raises: InputError as soon as there is more to write down than `MAX_SYMBOLS`, counted as often as it is asked for.
    """

    def __init__(self) -> None:
        self._num_symbols = 0
        self._repeated: dict[tuple[Sequence_, int, int | None], Sequence_] = {}
        self._classes: dict[frozenset[int], int] = {}
        self._rules: list[tuple[Sequence_, ...]] = []
        self._known: dict[tuple[Sequence_, ...], Symbol] = {}
        self._endless: dict[Sequence_, Symbol] = {}

    def byte(self, values: Iterable[int]) -> Symbol:
        """Return the symbol of one byte out of several."""
        return self._classes.setdefault(frozenset(values), len(self._classes))

    def text(self, text: str) -> Sequence_:
        """Return the symbols of exactly this text."""
        return tuple(self.byte((value,)) for value in text.encode("utf-8"))

    def either(self, *ways: Sequence_) -> Symbol:
        """Return the symbol of one of several sequences."""
        self._num_symbols += sum(map(len, ways))
        if self._num_symbols > MAX_SYMBOLS:
            raise InputError(f"the form of the answer needs a grammar of more than {MAX_SYMBOLS} symbols.")
        if ways not in self._known:
            self._known[ways] = self._add(ways)
        return self._known[ways]

    def optional(self, *symbols: Symbol) -> Symbol:
        """Return the symbol of a sequence that may be left out."""
        return self.either((), symbols)

    def any_number(self, *symbols: Symbol) -> Symbol:
        """Return the symbol of a sequence that comes as often as it likes."""
        if symbols not in self._endless:
            own = -1 - len(self._rules)
            self._endless[symbols] = self._add(((), (*symbols, own)))
        return self._endless[symbols]

    def repeated(self, symbols: Sequence_, *, low: int, high: int | None) -> Sequence_:
        """Return a sequence that comes `low` to `high` times; None: without end."""
        key = (symbols, low, high)
        if key not in self._repeated:
            self._repeated[key] = self._repeat(self.either(symbols), low=low, high=high)
        return self._repeated[key]

    def build(self, start: Sequence_) -> Grammar:
        """Return the grammar whose texts are those of a sequence."""
        return Grammar(
            classes=tuple(self._classes), rules=tuple(self._rules), start=start, num_bytes=_shortest(self._rules)
        )

    def _repeat(self, once: Symbol, *, low: int, high: int | None) -> Sequence_:
        rest: Sequence_ = () if high is not None else (self.any_number(once),)
        for _ in range(0 if high is None else high - low):
            rest = (self.optional(once, *rest),)
        for _ in range(low):
            rest = (self.either((once, *rest)),)
        return rest

    def _add(self, ways: tuple[Sequence_, ...]) -> Symbol:
        self._rules.append(ways)
        return -len(self._rules)


def _shortest(rules: Sequence[tuple[Sequence_, ...]]) -> tuple[int, ...]:
    """Return the bytes of the shortest text of each rule."""
    endless = 1 << 30
    found = [endless] * len(rules)
    has_changed = True
    while has_changed:
        has_changed = False
        for number, ways in enumerate(rules):
            best = min(sum(1 if symbol >= 0 else found[-1 - symbol] for symbol in way) for way in ways)
            if best < found[number]:
                found[number], has_changed = best, True
    return tuple(found)
