"""A grammar as an automaton that is worked out as far as it is walked: byte by byte, from state to state."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from banyan.core.errors import InputError
from banyan.infer.forms.grammar import Grammar, Sequence_

# What is still to be written: the symbols of the innermost sequence, and what comes after it.
Stack: TypeAlias = tuple[Sequence_, Any]
Places: TypeAlias = frozenset[Stack | None]  # all the places one may be at after the same bytes; None: the end

DEAD = 0  # the state after a byte that may not come
MAX_STATES = 20_000  # of one form
MAX_PLACES = 4_096  # at once
MAX_KEPT_PLACES = 500_000  # of all states together: some tens of megabytes
IMPOSSIBLE = 1 << 29  # bytes, of what has no end


class Automaton:
    """Reads bytes and knows, in each state, whether the text may end and how many bytes its end is away."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._numbers: dict[Places, int] = {frozenset(): DEAD}
        self._places: list[Places] = [frozenset()]
        self._num_kept = 0
        self._needs = [IMPOSSIBLE]
        self._has_row = np.zeros(64, dtype=bool)
        self._has_row[DEAD] = True
        self._table = np.zeros((64, 256), dtype=np.int32)
        self.start = self._number(self._expand((grammar.start, None)))

    def follow(self, states: NDArray[np.int32], values: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Return the state after one byte, from each of some states."""
        for state in np.unique(states):
            if not self._has_row[state]:
                self._work_out(int(state))
        after: NDArray[np.int32] = self._table[states, values]
        return after

    def walk(self, state: int, text: bytes) -> int:
        """Return the state after some bytes."""
        for value in text:
            state = int(self.follow(np.array([state], dtype=np.int32), np.array([value], dtype=np.uint8))[0])
        return state

    def needs(self) -> NDArray[np.int32]:
        """Return how many bytes each state's nearest end is away; 0: the text may end here."""
        return np.array(self._needs, dtype=np.int32)

    def may_end(self, state: int) -> bool:
        """Whether the text may end here."""
        return None in self._places[state]

    def must_end(self, state: int) -> bool:
        """Whether nothing may follow."""
        return self._places[state] == {None}

    def _work_out(self, state: int) -> None:
        """Fill the row of a state: bytes that may come at the same places lead to the same state."""
        stacks = [stack for stack in self._places[state] if stack is not None]
        may_come = np.zeros((len(stacks), 256), dtype=bool)
        for row, (symbols, _) in enumerate(stacks):
            may_come[row, list(self._grammar.classes[symbols[0]])] = True
        alike, column_of = np.unique(may_come, axis=1, return_inverse=True)
        after = [self._expand((symbols[1:], parent)) for symbols, parent in stacks]
        reached = [frozenset().union(*(after[row] for row in np.flatnonzero(column))) for column in alike.T]
        numbers = np.array([self._number(places) for places in reached], dtype=np.int32)
        self._table[state] = numbers[column_of.reshape(-1)] if stacks else DEAD
        self._has_row[state] = True

    def _expand(self, stack: Stack | None) -> Places:
        """Return the places before a byte, or at the end, that a place stands for."""
        found: set[Stack | None] = set()
        waiting = [stack]
        while waiting:
            place = waiting.pop()
            if place is None:
                found.add(None)
                continue
            symbols, parent = place
            if not symbols:
                waiting.append(parent)
            elif symbols[0] >= 0:
                found.add(place)
            else:
                # Nothing is put behind a last symbol, so endless lists do not pile up.
                behind = (symbols[1:], parent) if len(symbols) > 1 else parent
                waiting += [(way, behind) for way in self._grammar.rules[-1 - symbols[0]]]
        return frozenset(found)

    def _number(self, places: Places) -> int:
        if places in self._numbers:
            return self._numbers[places]
        number = len(self._places)
        self._num_kept += len(places)
        if number >= MAX_STATES or len(places) > MAX_PLACES or self._num_kept > MAX_KEPT_PLACES:
            raise InputError("the form of the answer has too many cases to keep apart; ask for a simpler one.")
        if number >= len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
            self._has_row = np.concatenate([self._has_row, np.zeros_like(self._has_row)])
        self._numbers[places] = number
        self._places.append(places)
        self._needs.append(min(map(self._num_bytes, places), default=IMPOSSIBLE))
        return number

    def _num_bytes(self, place: Stack | None) -> int:
        """Return the bytes of the shortest text from a place to the end."""
        total = 0
        while place is not None:
            symbols, place = place
            total += sum(1 if symbol >= 0 else self._grammar.num_bytes[-1 - symbol] for symbol in symbols)
        return min(total, IMPOSSIBLE)
