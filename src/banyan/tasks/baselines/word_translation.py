"""Translation without a Transformer: every word by itself, from a lexicon learned of the parallel sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from banyan.core.types import Prediction
from banyan.tasks.translation import TranslationExample
from banyan.tasks.units import join_words, words

SentencePair: TypeAlias = tuple[Sequence[str], Sequence[str]]  # words of a sentence and of its translation
Lexicon: TypeAlias = Mapping[str, Mapping[str, float]]  # word → probability of each of its translations

NO_WORD = ""  # what a translated word comes from that no word of the sentence stands for
_NUM_ROUNDS = 5
_MAX_WORDS = 60  # of a sentence; longer ones say little about single words and cost their square
_BEFORE_A_MARK = re.compile(r" +(?=[.,;:!?%)\]}'’»])|(?<=[(\[{«]) +")


def word_for_word(
    task: str, train: Sequence[TranslationExample]
) -> Callable[[Sequence[TranslationExample]], list[Prediction]]:
    """Answer each word's likeliest translation in the sentence's own order; unknown words stay. Han by character."""
    pairs: dict[str, list[SentencePair]] = {}
    for example in train:
        pairs.setdefault(example.direction, []).append((words(example.text), words(example.translation or "")))
    best = {direction: _likeliest(learn_lexicon(known)) for direction, known in pairs.items()}

    def answer(examples: Sequence[TranslationExample]) -> list[Prediction]:
        return [Prediction(task=task, text=_translate(e.text, best.get(e.direction, {}))) for e in examples]

    return answer


def learn_lexicon(pairs: Sequence[SentencePair], *, num_rounds: int = _NUM_ROUNDS) -> Lexicon:
    """Return how probable each translation of each word is.

    Source: IBM model 1 (Brown et al. 1993, section 4.1) with an empty source word, by expectation maximisation from
    equal probabilities.
    """
    grid = _lay_out(pairs)
    probs = np.ones(len(grid.source_of_cell))
    for _ in range(num_rounds):
        weights = probs[grid.cells]
        shares = weights / np.bincount(grid.targets, weights)[grid.targets]
        counts = np.bincount(grid.cells, shares, minlength=len(probs))
        probs = counts / np.bincount(grid.source_of_cell, counts)[grid.source_of_cell]
    lexicon: dict[str, dict[str, float]] = {}
    for source, target, prob in zip(grid.source_of_cell, grid.target_of_cell, probs.tolist(), strict=True):
        lexicon.setdefault(grid.source_words[source], {})[grid.target_words[target]] = prob
    return lexicon


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grid:
    """All pairs of a word and a word of its sentence's translation; a cell is a pair of words that occurs."""

    cells: NDArray[np.int64]  # the cell of every pair
    targets: NDArray[np.int64]  # the occurrence of a translated word that every pair belongs to
    source_of_cell: NDArray[np.int64]
    target_of_cell: NDArray[np.int64]
    source_words: Sequence[str]
    target_words: Sequence[str]


def _lay_out(pairs: Sequence[SentencePair]) -> _Grid:
    source_ids: dict[str, int] = {}
    target_ids: dict[str, int] = {}
    columns: list[tuple[NDArray[np.int64], ...]] = []
    num_targets = 0
    for sentence, translation in pairs:
        left = _numbers([NO_WORD, *sentence[:_MAX_WORDS]], source_ids)
        right = _numbers(translation[:_MAX_WORDS], target_ids)
        places = np.arange(num_targets, num_targets + len(right))
        columns.append((np.tile(left, len(right)), np.repeat(right, len(left)), np.repeat(places, len(left))))
        num_targets += len(right)
    sources, translated, targets = (np.concatenate(column) for column in zip(*columns, strict=True))
    keys, cells = np.unique(sources * len(target_ids) + translated, return_inverse=True)
    return _Grid(
        cells=cells,
        targets=targets,
        source_of_cell=keys // len(target_ids),
        target_of_cell=keys % len(target_ids),
        source_words=list(source_ids),
        target_words=list(target_ids),
    )


def _numbers(names: Sequence[str], known: dict[str, int]) -> NDArray[np.int64]:
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def _likeliest(lexicon: Lexicon) -> dict[str, str]:
    return {word: max(choices, key=lambda choice: choices[choice]) for word, choices in lexicon.items()}


def _translate(text: str, best: Mapping[str, str]) -> str:
    translated = [best.get(word) or best.get(word.lower()) or word for word in words(text)]
    return _BEFORE_A_MARK.sub("", join_words(translated)[0]) if translated else text
