"""Which baselines a task is printed beside: the trivial one it must beat, and the strong simple ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from banyan.core.errors import DataError
from banyan.core.registry import Registry
from banyan.tasks.base import Task
from banyan.tasks.baselines.compression import ByteNgrams, xz_bits
from banyan.tasks.baselines.crf import conditional_random_field
from banyan.tasks.baselines.fasttext_labels import fasttext
from banyan.tasks.baselines.labels import majority_label, naive_bayes, tfidf_logistic_regression
from banyan.tasks.baselines.nearest import nearest_answer
from banyan.tasks.baselines.pictures import unigram_codes
from banyan.tasks.baselines.seen import commonest_caption, pixels_alone
from banyan.tasks.baselines.spans import best_fixed_span
from banyan.tasks.baselines.tagging import most_frequent_tag
from banyan.tasks.baselines.texts import (
    commonest_answer,
    copy_source,
    is_code,
    lead_sentences,
    lead_words,
    name_as_summary,
)
from banyan.tasks.baselines.word_translation import word_for_word
from banyan.tasks.evaluate import AnswerFunction, BitsFunction
from banyan.tasks.image_generation import ImageGeneration

NGRAM_ORDER = 6
MAX_NGRAM_BYTES = 8_000_000  # of training text; more takes long


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A simple system that answers a task's examples, once it has learned from training examples."""

    name: str
    learn: Callable[[], AnswerFunction[Any]]
    is_trivial: bool = False  # a model must beat it; the others are printed whoever wins
    is_slow: bool = False  # takes more than a few seconds on tens of thousands of examples


@dataclass(frozen=True, kw_only=True, slots=True)
class BitsBaseline:
    """A simple system that tells how many bits a text costs, once it has learned from training texts."""

    name: str
    learn: Callable[[], BitsFunction]
    is_trivial: bool = False
    is_slow: bool = False


def baselines_for(task: Task[Any], train: Sequence[Any], *, seed: int = 0) -> tuple[Baseline, ...]:
    """Return the baselines of a task, the trivial one first; none for a kind that nobody gave any.

    Language modelling has its own: `bits_baselines`.
    Raises: DataError if there are no training examples.
    """
    if not train:
        raise DataError(f"task {task.name} has no training examples to make baselines of.")
    return BASELINES[task.kind](task, train, seed) if task.kind in BASELINES else ()


def _for_classification(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    name = task.name
    return (
        Baseline(name="majority", is_trivial=True, learn=lambda: majority_label(name, train)),
        Baseline(name="naive Bayes", learn=lambda: naive_bayes(name, train)),
        Baseline(name="TF-IDF + logistic regression", learn=lambda: tfidf_logistic_regression(name, train, seed=seed)),
        Baseline(name="fastText", is_slow=True, learn=lambda: fasttext(name, train, seed=seed)),
    )


def _for_tagging(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    return (
        Baseline(name="most frequent tag", is_trivial=True, learn=lambda: most_frequent_tag(task.name, train)),
        Baseline(name="CRF", is_slow=True, learn=lambda: conditional_random_field(task.name, train)),
    )


def _for_translation(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    return (
        Baseline(name="copy", is_trivial=True, learn=lambda: copy_source(task.name)),
        Baseline(name="word for word", learn=lambda: word_for_word(task.name, train)),
    )


def _for_summarization(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    name = task.name
    if not is_code(train):
        return (
            Baseline(name="first words", is_trivial=True, learn=lambda: lead_words(name, train)),
            Baseline(name="first sentences", learn=lambda: lead_sentences(name, train)),
        )
    return (
        Baseline(name="function name", is_trivial=True, learn=lambda: name_as_summary(name, in_words=False)),
        Baseline(name="split function name", learn=lambda: name_as_summary(name, in_words=True)),
    )


def _for_question_answering(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    learn = partial(best_fixed_span, task.name, train, seed=seed)
    return (Baseline(name="best fixed span", is_trivial=True, learn=learn),)


def _for_dialogue(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    return (
        Baseline(name="commonest answer", is_trivial=True, learn=lambda: commonest_answer(task.name, train)),
        Baseline(name="answer of the nearest question", learn=lambda: nearest_answer(task.name, train)),
    )


def _for_image_generation(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    assert isinstance(task, ImageGeneration)
    learn = partial(unigram_codes, task, train, seed=seed)
    return (Baseline(name="unigram codes", is_trivial=True, learn=learn),)


def _for_picture_classification(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    name = task.name
    picture = Baseline(name="the picture alone", learn=lambda: pixels_alone(name, train, seed=seed))
    text = Baseline(name="the text alone", learn=lambda: tfidf_logistic_regression(name, train, seed=seed))
    has_text = any(example.text.strip() for example in train)
    trivial = Baseline(name="majority", is_trivial=True, learn=lambda: majority_label(name, train))
    return (trivial, picture, text) if has_text else (trivial, picture)


def _for_captioning(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    learn = partial(commonest_caption, task.name, train)
    return (Baseline(name="commonest caption", is_trivial=True, learn=learn),)


BASELINES: Registry[Callable[[Task[Any], Sequence[Any], int], tuple[Baseline, ...]]] = Registry(
    "baseline for task kind"
)
BASELINES.add("classification", _for_classification)
BASELINES.add("tagging", _for_tagging)
BASELINES.add("translation", _for_translation)
BASELINES.add("summarization", _for_summarization)
BASELINES.add("question_answering", _for_question_answering)
BASELINES.add("dialogue", _for_dialogue)
BASELINES.add("image_generation", _for_image_generation)
BASELINES.add("picture_classification", _for_picture_classification)
BASELINES.add("captioning", _for_captioning)


def bits_baselines(train: Sequence[str]) -> tuple[BitsBaseline, ...]:
    """Return the baselines of language modelling, learned from the training texts; long n-grams from the last 8 MB."""

    def ngrams(order: int, texts: Sequence[str]) -> Callable[[], BitsFunction]:
        return lambda: ByteNgrams(texts, order=order).bits

    last = _last_bytes(train, MAX_NGRAM_BYTES)
    return (
        BitsBaseline(name="unigram bytes", is_trivial=True, learn=ngrams(1, last)),
        BitsBaseline(name=f"{NGRAM_ORDER}-gram bytes", learn=ngrams(NGRAM_ORDER, last)),
        BitsBaseline(name="xz", learn=lambda: partial(xz_bits, train)),
    )


def _last_bytes(texts: Sequence[str], max_bytes: int) -> list[str]:
    """Return the last texts, at least one, that have no more bytes together."""
    kept: list[str] = []
    room = max_bytes
    for text in reversed(texts):
        room -= len(text.encode())
        if kept and room < 0:
            break
        kept.append(text)
    return kept[::-1]
