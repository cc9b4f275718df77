"""What can be counted in texts without a model: variety, repetition, length, and what they share with other texts.

The unit is the word or punctuation mark, and the single character where a script is written without spaces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeAlias

import numpy as np

from banyan.tasks.metrics.measurement import Measurement, ratio
from banyan.tasks.units import words

Units: TypeAlias = Sequence[str]
NGram: TypeAlias = tuple[str, ...]

DISTINCT_ORDERS = (1, 2, 3, 4)
REPETITION_ORDERS = (2, 4)
OVERLAP_ORDERS = (1, 2, 3, 4)
COPY_ORDERS = (4, 8)  # how much was copied from training text


def units_of(text: str) -> list[str]:
    """Return the units of a text in lower case, so that a word at the beginning of a sentence is the same word."""
    return words(text.lower())


def ngrams(units: Units, order: int) -> Iterator[NGram]:
    """Yield every `order` neighbouring units."""
    return zip(*(units[start:] for start in range(order)), strict=False)


def distinct(texts: Iterable[Units], order: int, *, num_ngrams: int) -> float:
    """Return the share of different n-grams among the first `num_ngrams` of all texts.

    Long texts repeat more than short ones, so two collections are compared over equally many.
    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models" (distinct-n).
    """
    found = list(chain.from_iterable(ngrams(units, order) for units in texts))[:num_ngrams]
    return ratio(len(set(found)), len(found))


def count_ngrams(texts: Iterable[Units], order: int) -> int:
    """Return how many n-grams texts have together."""
    return sum(max(0, len(units) - order + 1) for units in texts)


def measure_repetition(texts: Sequence[Units]) -> Measurement:
    """Measure which share of a text's n-grams had come before in it, on average over texts.

    Source: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training" (seq-rep-n).
    """
    names = [f"seq-rep-{order}" for order in REPETITION_ORDERS]
    counted = [[_repeated(units, order) for order in REPETITION_ORDERS] for units in texts]
    # Texts without a single n-gram are not counted.
    statistics = np.array([[value for pair in row for value in pair] for row in counted], dtype=np.float64)
    return Measurement(
        statistics=statistics.reshape(len(texts), 2 * len(names)),
        summarize=lambda totals: {
            name: ratio(totals[2 * number], totals[2 * number + 1]) for number, name in enumerate(names)
        },
        lower_is_better=frozenset(names),
    )


def _repeated(units: Units, order: int) -> tuple[float, float]:
    found = list(ngrams(units, order))
    return (1 - len(set(found)) / len(found), 1.0) if found else (0.0, 0.0)


def measure_overlap(
    texts: Sequence[Units], known: Collection[NGram], orders: Sequence[int], *, name: str
) -> Measurement:
    """Measure which share of the n-grams of texts is known; scores are called `name-n`."""
    rows = []
    for units in texts:
        found = [list(ngrams(units, order)) for order in orders]
        rows.append([count for group in found for count in (sum(item in known for item in group), len(group))])
    return Measurement(
        statistics=np.array(rows, dtype=np.float64).reshape(len(texts), 2 * len(orders)),
        summarize=lambda totals: {
            f"{name}-{order}": ratio(totals[2 * number], totals[2 * number + 1]) for number, order in enumerate(orders)
        },
    )


def all_ngrams(texts: Iterable[Units], orders: Sequence[int]) -> set[NGram]:
    """Return every n-gram of the given orders that occurs in texts."""
    return {item for units in texts for order in orders for item in ngrams(units, order)}


def ngrams_seen(wanted: set[NGram], texts: Iterable[Units], orders: Sequence[int]) -> set[NGram]:
    """Return those n-grams that occur in texts, which may be many: none of them is kept."""
    seen: set[NGram] = set()
    for units in texts:
        for order in orders:
            seen |= wanted.intersection(ngrams(units, order))
    return seen


def measure_lengths(texts: Sequence[str]) -> Measurement:
    """Measure how long texts are on average, in units and in characters."""
    rows = [[len(units_of(text)), len(text), 1] for text in texts]
    return Measurement(
        statistics=np.array(rows, dtype=np.float64),
        summarize=lambda totals: {
            "length in words": ratio(totals[0], totals[2]),
            "length in characters": ratio(totals[1], totals[2]),
        },
    )
