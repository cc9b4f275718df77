"""From an example to another wording of it: which texts of it, which methods, in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from banyan.tasks.augmentation.config import Augmentation
from banyan.tasks.augmentation.edits import (
    Words,
    delete_words,
    exchange_words,
    hide_words,
    insert_words,
    shuffle_sentences,
    swap_words,
)
from banyan.tasks.augmentation.lexicon import WordPool, telling_words
from banyan.tasks.augmentation.passage import Passage, WordSplitter, split_passage
from banyan.tasks.base import Task
from banyan.tasks.units import split_units

E = TypeVar("E")
_MAX_TEXTS = 20_000  # looked at for words; more change little


@dataclass(frozen=True, kw_only=True, slots=True)
class Lexicon:
    """What is known about the words of a task's training texts."""

    counts: Mapping[str, int]  # how often a word that may be brought in occurs
    telling: frozenset[str] = frozenset()  # words that give the answer away, in lower case: neither taken nor given
    split: WordSplitter = split_units


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelKnowledge:
    """What a model was asked before the first step, so that a step depends on no model but its own."""

    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)  # word → its nearest neighbours
    translated: Mapping[str, str] = field(default_factory=dict)  # text → the same in other words


def build_lexicon(task: Task[E], examples: Sequence[E], *, split: WordSplitter = split_units) -> Lexicon:
    """Read the words of the training examples, those of a long set in a part that is spread over it."""
    looked_at = examples[:: max(1, len(examples) // _MAX_TEXTS)]
    words = [_words_of(task, example, split) for example in looked_at]
    labels = [task.label(example) for example in looked_at]
    known = ((own, label) for own, label in zip(words, labels, strict=True) if label is not None)
    telling = telling_words(known)
    counts = Counter(word for own in words for word in own if word.lower() not in telling)
    return Lexicon(counts=counts, telling=telling, split=split)


def _words_of(task: Task[E], example: E, split: WordSplitter) -> list[str]:
    passages = task.passages(example, split=split)
    return [word.text for passage in passages for word in passage.words if word.may_change]


class Augmenter(Generic[E]):
    """Words the examples of one task otherwise. What it gives follows from the example and the generator alone."""

    def __init__(
        self, task: Task[E], config: Augmentation, lexicon: Lexicon, *, knowledge: ModelKnowledge | None = None
    ) -> None:
        self._task = task
        self._config = config
        self._lexicon = lexicon
        self._knowledge = knowledge or ModelKnowledge()
        self._pool = WordPool(lexicon.counts)
        chosen: dict[str, Callable[..., Words]] = {
            "synonyms": partial(exchange_words, choose=self._neighbour),
            "word_replacement": partial(exchange_words, choose=self._other_word),
            "word_dropout": hide_words,
            "insert": partial(insert_words, choose=self._pool.draw),
            "delete": delete_words,
            "swap": swap_words,
        }
        self._edits = [partial(chosen[name], share=getattr(config, name)) for name in chosen if name in config.methods]

    def vary(self, example: E, generator: np.random.Generator) -> E:
        """Return the example as it is learned this time: as it is, or in other words with the same answer."""
        if generator.random() >= self._config.share:
            return example
        passages = self._task.passages(example, split=self._lexicon.split)
        return self._task.with_passages(example, [self._varied(passage, generator) for passage in passages])

    def _varied(self, passage: Passage, generator: np.random.Generator) -> Passage:
        if generator.random() < self._config.back_translation:
            passage = self._translated(passage)
        words = passage.words
        for edit in self._edits:
            words = edit(words, generator=generator)
        if generator.random() < self._config.sentence_permutation:
            words = shuffle_sentences(words, generator)
        return replace(passage, words=words)

    def _translated(self, passage: Passage) -> Passage:
        other = self._knowledge.translated.get(passage.text)
        return passage if other is None else split_passage(other, units=self._lexicon.split(other))

    def _other_word(self, word: str, generator: np.random.Generator) -> str | None:
        return None if word.lower() in self._lexicon.telling else self._pool.draw(word, generator)

    def _neighbour(self, word: str, generator: np.random.Generator) -> str | None:
        telling = self._lexicon.telling
        if word.lower() in telling:
            return None
        near = [other for other in self._knowledge.synonyms.get(word, ()) if other.lower() not in telling]
        return near[int(generator.integers(len(near)))] if near else None
