"""translation: locale phrases between English, German and Chinese, {"translation": {…}} and its direction."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from banyan.core.types import Row
from banyan.workflows.demo_data.phrases import Phrase, bare_names, combined_phrases
from banyan.workflows.demo_data.splits import Split, split_of_entry

DIRECTIONS: tuple[tuple[str, str], ...] = (("en", "de"), ("de", "en"), ("en", "zh"), ("zh", "en"))
_NAMES_SHARE = 0.3  # of the rows
_PHRASES_PER_ROW = 1.5  # drawn; some fall away because they came before


def translation_rows(limits: Mapping[Split, int], *, generator: random.Random) -> dict[Split, list[Row]]:
    """Return rows of every direction in equal parts, split by entry and mixed.

    Phrases are new combinations of words that training knows; bare names of the held-out splits were never seen.
    """
    names = list(bare_names())
    generator.shuffle(names)
    drawn = int(sum(limits.values()) * _PHRASES_PER_ROW)
    phrases = _without_repeats(islice(combined_phrases(generator=generator), drawn))
    rows: dict[Split, list[Row]] = {}
    for split, limit in limits.items():
        num_names = int(limit * _NAMES_SHARE)
        chosen = list(islice(_each_direction(_of_split(names, split)), num_names))
        chosen += islice(_one_direction(_of_split(phrases, split)), limit - len(chosen))
        generator.shuffle(chosen)
        rows[split] = chosen
    return rows


def _of_split(phrases: Iterable[Phrase], split: Split) -> Iterator[Phrase]:
    return (phrase for phrase in phrases if split_of_entry(phrase.entry) is split)


def _without_repeats(phrases: Iterable[Phrase]) -> list[Phrase]:
    """Keep the first phrase of those that any language says in the same words."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for phrase in phrases:
        words = set(phrase.texts.items())
        if not words & seen:
            seen |= words
            kept.append(phrase)
    return kept


def _one_direction(phrases: Iterable[Phrase]) -> Iterator[Row]:
    for index, phrase in enumerate(phrases):
        yield _row(phrase, *DIRECTIONS[index % len(DIRECTIONS)])


def _each_direction(phrases: Iterable[Phrase]) -> Iterator[Row]:
    for phrase in phrases:
        yield from (_row(phrase, source, target) for source, target in DIRECTIONS)


def _row(phrase: Phrase, source: str, target: str) -> Row:
    return {
        "translation": {source: phrase.texts[source], target: phrase.texts[target]},
        "source_language": source,
        "target_language": target,
        "group": phrase.group,
        "entry": phrase.entry,
    }
