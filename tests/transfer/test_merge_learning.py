"""Merges on top of merges, against a loop that counts every pair anew."""

from __future__ import annotations

import random
from collections import Counter

from banyan.transfer.merge_learning import MergeTable, learn_merges, replace_pair

LETTERS = {number: chr(ord("a") + number) for number in range(6)}


def table() -> MergeTable:
    return MergeTable(names=dict(LETTERS), next_id=100)


def random_words(seed: int) -> Counter[tuple[int, ...]]:
    draw = random.Random(seed)
    return Counter(tuple(draw.randrange(6) for _ in range(draw.randint(1, 7))) for _ in range(300))


def counted_anew(words: Counter[tuple[int, ...]], num_merges: int, max_length: int) -> list[tuple[int, int]]:
    """The textbook loop: count all pairs, take the best, begin again."""
    names, merges, current = dict(LETTERS), [], {word: list(word) for word in words}
    while len(merges) < num_merges:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, ids in current.items():
            for pair in zip(ids, ids[1:], strict=False):
                pairs[pair] += words[word]
        allowed = {
            pair: n
            for pair, n in pairs.items()
            if n >= 2 and (name := names[pair[0]] + names[pair[1]]) not in names.values() and len(name) <= max_length
        }
        if not allowed:
            return merges
        best = min(allowed, key=lambda pair: (-allowed[pair], pair))
        names[100 + len(merges)] = names[best[0]] + names[best[1]]
        current = {word: replace_pair(ids, best, 100 + len(merges)) for word, ids in current.items()}
        merges.append(best)
    return merges


def test_learned_merges_are_those_of_a_loop_that_counts_everything_anew() -> None:
    for seed in range(5):
        words, learned = random_words(seed), table()
        num = learn_merges(learned, words, num_merges=40, min_frequency=2, max_name_length=5)
        assert list(learned.merges) == counted_anew(words, 40, 5)
        assert num == len(learned.merges) == 40


def test_letters_that_repeat_are_counted_right() -> None:
    words = Counter({(0,) * length: length for length in range(2, 9)} | {(0, 1) * 4: 3, (1, 0, 0, 1, 0): 2})
    learned = table()
    learn_merges(learned, words, num_merges=9, min_frequency=2, max_name_length=9)
    assert list(learned.merges) == counted_anew(words, 9, 9)


def test_a_merge_never_makes_a_name_that_exists() -> None:
    words = random_words(1)
    learned = table()
    learn_merges(learned, words, num_merges=200, min_frequency=2, max_name_length=5)
    assert len(set(learned.names.values())) == len(learned.names)


def test_a_merged_word_spells_out_to_what_it_was() -> None:
    words, learned = random_words(2), table()
    learn_merges(learned, words, num_merges=50, min_frequency=2, max_name_length=6)
    for word in words:
        merged = learned.apply(word)
        assert tuple(piece for token_id in merged for piece in learned.spell_out(token_id)) == word


def test_rare_pairs_are_not_merged() -> None:
    learned = table()
    assert learn_merges(learned, {(0, 1): 1, (2, 3): 2}, num_merges=9, min_frequency=2, max_name_length=9) == 1
    assert list(learned.merges) == [(2, 3)]


def test_three_in_a_row_are_merged_from_the_left() -> None:
    assert replace_pair([1, 1, 1, 2], (1, 1), 9) == [9, 1, 2]
