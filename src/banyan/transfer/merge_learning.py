"""Byte-pair merges learned on top of a tokenizer that exists: words are sequences of its ids, and the most frequent
pair of neighbours becomes one new id, again and again.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Pair = tuple[int, int]


@dataclass(kw_only=True)
class MergeTable:
    """Merges in the order in which they are applied, and the names of all tokens.

    No merge makes a name that exists, so each new token stands for exactly one sequence of old pieces.
    """

    names: dict[int, str]  # of every token, old and new
    next_id: int
    merges: dict[Pair, int] = field(default_factory=dict)  # (left, right) → new id, first merge first

    def __post_init__(self) -> None:
        self._taken = set(self.names.values())
        self._spelling: dict[int, tuple[int, ...]] = {}

    def can_merge(self, pair: Pair) -> bool:
        """Would the merge make a token that does not exist yet?"""
        return self.names[pair[0]] + self.names[pair[1]] not in self._taken

    def add_name(self, name: str) -> int:
        """Append a token that no merge makes, and return its id."""
        new_id = self.next_id
        self.names[new_id] = name
        self._taken.add(name)
        self.next_id += 1
        return new_id

    def add(self, pair: Pair) -> int:
        """Append a merge and return the id of what it makes."""
        new_id = self.add_name(self.names[pair[0]] + self.names[pair[1]])
        self.merges[pair] = new_id
        self._spelling[new_id] = self.spell_out(pair[0]) + self.spell_out(pair[1])
        return new_id

    def apply(self, token_ids: Sequence[int]) -> list[int]:
        """Return the ids of a word under the new merges, the first merge first."""
        ids = list(token_ids)
        while pairs := [pair for pair in zip(ids, ids[1:], strict=False) if pair in self.merges]:
            first = min(pairs, key=self.merges.__getitem__)
            ids = replace_pair(ids, first, self.merges[first])
        return ids

    def spell_out(self, token_id: int) -> tuple[int, ...]:
        """Return the old ids that a token was merged from; an old one is its own piece."""
        return self._spelling.get(token_id, (token_id,))


def learn_merges(
    table: MergeTable,
    words: Mapping[tuple[int, ...], int],
    *,
    num_merges: int,
    min_frequency: int,
    max_name_length: int,
) -> int:
    """Append the most frequent merges of words (with how often each occurs) to the table; return how many.

    Of equally frequent pairs the one with the smaller ids comes first, so that the same words give the same merges.
    Source: Sennrich et al. 2016, algorithm 1, begun at the pieces of a tokenizer that exists.
    """
    counts = _PairCounts(words)
    num_learned = 0
    while num_learned < num_merges and (found := counts.most_frequent()) is not None:
        pair, frequency = found
        if frequency < min_frequency:
            break
        length = sum(len(table.names[part]) for part in pair)
        if length > max_name_length or not table.can_merge(pair):
            counts.forbid(pair)
            continue
        counts.merge(pair, table.add(pair))
        num_learned += 1
    return num_learned


def replace_pair(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    """Replace every occurrence of two neighbours, from the left."""
    result: list[int] = []
    at = 0
    while at < len(ids):
        is_pair = at + 1 < len(ids) and (ids[at], ids[at + 1]) == pair
        result.append(new_id if is_pair else ids[at])
        at += 2 if is_pair else 1
    return result


class _PairCounts:
    """How often each pair of neighbours occurs, kept up to date while pairs are merged."""

    def __init__(self, words: Mapping[tuple[int, ...], int]) -> None:
        self._words = [list(word) for word in words]
        self._frequencies = list(words.values())
        self._counts: dict[Pair, int] = defaultdict(int)
        self._places: dict[Pair, set[int]] = defaultdict(set)  # words that hold the pair, or held it
        self._forbidden: set[Pair] = set()
        for number, (word, frequency) in enumerate(zip(self._words, self._frequencies, strict=True)):
            for pair in zip(word, word[1:], strict=False):
                self._counts[pair] += frequency
                self._places[pair].add(number)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)

    def most_frequent(self) -> tuple[Pair, int] | None:
        """Return the pair that occurs most often, and how often."""
        while self._heap:
            count, pair = self._heap[0]
            if pair not in self._forbidden and self._counts[pair] == -count > 0:
                return pair, -count
            heapq.heappop(self._heap)  # an old entry: the pair has a newer one, or is gone
        return None

    def forbid(self, pair: Pair) -> None:
        """Leave a pair out from now on."""
        self._forbidden.add(pair)

    def merge(self, pair: Pair, new_id: int) -> None:
        """Make one id of a pair in every word."""
        changed: set[Pair] = set()
        for number in sorted(self._places.pop(pair)):
            self._words[number], changes = _merged(self._words[number], pair, new_id)
            for other, change in changes.items():
                self._counts[other] += change * self._frequencies[number]
                if change > 0:
                    self._places[other].add(number)
            changed |= changes.keys()
        for other in changed:
            heapq.heappush(self._heap, (-self._counts[other], other))


def _merged(ids: Sequence[int], pair: Pair, new_id: int) -> tuple[list[int], dict[Pair, int]]:
    """Return a word with a pair merged, and how many times more or less each pair now occurs in it."""
    result: list[int] = []
    changes: dict[Pair, int] = defaultdict(int)
    at = 0
    while at < len(ids):
        if at + 1 == len(ids) or (ids[at], ids[at + 1]) != pair:
            result.append(ids[at])
            at += 1
            continue
        changes[pair] -= 1
        if result:
            changes[result[-1], pair[0]] -= 1
            changes[result[-1], new_id] += 1
        if at + 2 < len(ids):
            changes[pair[1], ids[at + 2]] -= 1
            changes[new_id, ids[at + 2]] += 1
        result.append(new_id)
        at += 2
    return result, changes
