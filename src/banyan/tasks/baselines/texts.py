"""Texts without a Transformer: copying, the first words or sentences, a function's name, the commonest answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from banyan.core.types import Prediction
from banyan.tasks.dialogue import DialogueExample
from banyan.tasks.metrics.summaries import measure_summaries
from banyan.tasks.summarization import SummaryExample
from banyan.tasks.translation import TranslationExample
from banyan.tasks.units import join_words, split_units

SummaryAnswers = Callable[[Sequence[SummaryExample]], list[Prediction]]

_MAX_SENTENCES = 5  # leads of 1 to this many are tried
_NUM_SCORED = 100  # training summaries that each lead is scored on
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_DEFINITION = re.compile(r"\b(?:def|class)\s+(\w+)")
_NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")


def copy_source(task: str) -> Callable[[Sequence[TranslationExample]], list[Prediction]]:
    """Answer every sentence with itself."""
    return lambda examples: [Prediction(task=task, text=example.text) for example in examples]


def function_name(document: str) -> str:
    """Return the name of the first function or class that a source text defines; empty if there is none."""
    found = _DEFINITION.search(document)
    return found.group(1) if found else ""


def split_name(name: str) -> str:
    """Return the words that a snake_case or CamelCase name is made of, in lower case."""
    return " ".join(_NAME_PARTS.findall(name)).lower()


def is_code(examples: Sequence[SummaryExample]) -> bool:
    """Do most of the documents define a function or class?"""
    return 2 * sum(bool(function_name(example.document)) for example in examples) > len(examples)


def name_as_summary(task: str, *, in_words: bool) -> SummaryAnswers:
    """Answer with the function's name, as it is or split into its words."""

    def answer(examples: Sequence[SummaryExample]) -> list[Prediction]:
        names = [function_name(example.document) for example in examples]
        return [Prediction(task=task, text=split_name(name) if in_words else name) for name in names]

    return answer


def lead_words(task: str, train: Sequence[SummaryExample]) -> SummaryAnswers:
    """Answer with the first words of the document, as many as a training summary has in the middle."""
    lengths = sorted(len(split_units(text)) for example in train for text in example.summaries[:1])
    num_words = lengths[len(lengths) // 2] if lengths else 1

    def answer(examples: Sequence[SummaryExample]) -> list[Prediction]:
        return [Prediction(task=task, text=_first_words(example.document, num_words)) for example in examples]

    return answer


def _first_words(text: str, num_words: int) -> str:
    units = split_units(text)[:num_words]
    return text[units[0].start : units[-1].end] if units else ""


def lead_sentences(task: str, train: Sequence[SummaryExample]) -> SummaryAnswers:
    """Answer with the first sentences (or lines) of the document, as many as score best on training summaries."""
    tried = [example for example in train if example.summaries][:: max(1, len(train) // _NUM_SCORED)]

    def rouge_of(num: int) -> float:
        answers = [first_sentences(example.document, num) for example in tried]
        return measure_summaries([example.summaries for example in tried], answers).scores()["rouge1"]

    num_sentences = max(range(1, _MAX_SENTENCES + 1), key=rouge_of) if tried else 1

    def answer(examples: Sequence[SummaryExample]) -> list[Prediction]:
        return [Prediction(task=task, text=first_sentences(example.document, num_sentences)) for example in examples]

    return answer


def first_sentences(text: str, num: int) -> str:
    """Return the first sentences of a text; a line ends one, too."""
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    return join_words([sentence.strip() for sentence in sentences[:num]])[0]


def commonest_answer(
    task: str, train: Sequence[DialogueExample]
) -> Callable[[Sequence[DialogueExample]], list[Prediction]]:
    """Always answer what was answered most often; of equals the first."""
    answers = Counter(example.answer or "" for example in train)
    prediction = Prediction(task=task, text=answers.most_common(1)[0][0])
    return lambda examples: [prediction for _ in examples]
