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
from banyan.tasks.baselines.labels import majority_label, naive_bayes, tfidf_logistic_regression
from banyan.tasks.baselines.pictures import unigram_codes
from banyan.tasks.baselines.spans import best_fixed_span
from banyan.tasks.baselines.tagging import most_frequent_tag
from banyan.tasks.baselines.texts import commonest_answer, copy_source, is_code, lead_words, name_as_summary
from banyan.tasks.evaluate import AnswerFunction, BitsFunction
from banyan.tasks.image_generation import ImageGeneration

NGRAM_ORDER = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A simple system that answers a task's examples."""

    name: str
    is_trivial: bool  # a model must beat it; the others are printed whoever wins
    answer: AnswerFunction[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class BitsBaseline:
    """A simple system that tells how many bits a text costs."""

    name: str
    is_trivial: bool
    bits: BitsFunction


def baselines_for(task: Task[Any], train: Sequence[Any], *, seed: int = 0) -> tuple[Baseline, ...]:
    """Return the baselines of a task, the trivial one first, learned from its training examples.

    Language modelling has its own: `bits_baselines`.
    Raises: DataError if there are no training examples; UnknownNameError for a kind without baselines.
    """
    if not train:
        raise DataError(f"task {task.name} has no training examples to make baselines of.")
    return BASELINES[task.kind](task, train, seed)


def _for_classification(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    regression = tfidf_logistic_regression(task.name, train, seed=seed)
    return (
        Baseline(name="majority", is_trivial=True, answer=majority_label(task.name, train)),
        Baseline(name="naive Bayes", is_trivial=False, answer=naive_bayes(task.name, train)),
        Baseline(name="TF-IDF + logistic regression", is_trivial=False, answer=regression),
    )


def _for_tagging(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    return (Baseline(name="most frequent tag", is_trivial=True, answer=most_frequent_tag(task.name, train)),)


def _for_translation(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    return (Baseline(name="copy", is_trivial=True, answer=copy_source(task.name)),)


def _for_summarization(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    if not is_code(train):
        return (Baseline(name="first words", is_trivial=True, answer=lead_words(task.name, train)),)
    return (
        Baseline(name="function name", is_trivial=True, answer=name_as_summary(task.name, in_words=False)),
        Baseline(name="split function name", is_trivial=False, answer=name_as_summary(task.name, in_words=True)),
    )


def _for_question_answering(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    return (Baseline(name="best fixed span", is_trivial=True, answer=best_fixed_span(task.name, train, seed=seed)),)


def _for_dialogue(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    return (Baseline(name="commonest answer", is_trivial=True, answer=commonest_answer(task.name, train)),)


def _for_image_generation(task: Task[Any], train: Sequence[Any], seed: int) -> tuple[Baseline, ...]:
    assert isinstance(task, ImageGeneration)
    return (Baseline(name="unigram codes", is_trivial=True, answer=unigram_codes(task, train, seed=seed)),)


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


def bits_baselines(train: Sequence[str]) -> tuple[BitsBaseline, ...]:
    """Return the baselines of language modelling, learned from the training texts."""
    return (
        BitsBaseline(name="unigram bytes", is_trivial=True, bits=ByteNgrams(train, order=1).bits),
        BitsBaseline(
            name=f"{NGRAM_ORDER}-gram bytes", is_trivial=False, bits=ByteNgrams(train, order=NGRAM_ORDER).bits
        ),
        BitsBaseline(name="xz", is_trivial=False, bits=partial(xz_bits, train)),
    )
