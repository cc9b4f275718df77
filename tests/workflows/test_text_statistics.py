"""Counts over texts, against counts made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from banyan.workflows.text_statistics import (
    all_ngrams,
    count_ngrams,
    distinct,
    measure_lengths,
    measure_overlap,
    measure_repetition,
    ngrams,
    ngrams_seen,
    units_of,
)


def by_hand(units: Sequence[str], order: int) -> list[tuple[str, ...]]:
    return [tuple(units[start : start + order]) for start in range(len(units) - order + 1)]


@pytest.mark.parametrize("order", [1, 2, 3, 9])
def test_ngrams_are_all_windows_of_neighbours(order: int) -> None:
    units = units_of("A tree, a tree is 一棵树.")
    assert units == ["a", "tree", ",", "a", "tree", "is", "一", "棵", "树", "."]
    assert list(ngrams(units, order)) == by_hand(units, order)
    assert count_ngrams([units, units], order) == 2 * len(by_hand(units, order))


def test_distinct_is_the_share_of_different_ngrams_among_the_first() -> None:
    texts = [["a", "b", "a", "b"], ["a", "b", "c"]]
    assert distinct(texts, 2, num_ngrams=99) == 3 / 5  # ab ba ab | ab bc
    assert distinct(texts, 2, num_ngrams=3) == 2 / 3
    assert distinct([[]], 2, num_ngrams=0) == 0


def test_repetition_is_the_share_of_ngrams_that_came_before_averaged_over_texts() -> None:
    looping, plain, short = ["a", "b", "a", "b", "a"], ["a", "b", "c"], ["a"]
    scores = measure_repetition([looping, plain, short]).scores()
    assert scores["seq-rep-2"] == pytest.approx(((1 - 2 / 4) + 0) / 2)  # the third has no pair
    assert scores["seq-rep-4"] == 0


def test_overlap_counts_every_occurrence_of_a_known_ngram() -> None:
    known = all_ngrams([["a", "b", "c"]], (1, 2))
    scores = measure_overlap([["a", "b", "a"], ["x"]], known, (1, 2), name="known").scores()
    assert scores == {"known-1": 3 / 4, "known-2": 1 / 2}


def test_ngrams_seen_are_those_wanted_that_occur() -> None:
    wanted = all_ngrams([["a", "b", "c"]], (2,))
    assert ngrams_seen(wanted, [["x", "a", "b"], ["c", "b"]], (2,)) == {("a", "b")}


def test_chinese_is_counted_by_character() -> None:
    scores = measure_lengths(["独木成林", "one tree"]).scores()
    assert scores == {"length in words": 3.0, "length in characters": 6.0}
