"""Rendering many examples for training, and counting those that a model cannot learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeAlias, TypeVar

from banyan.core.errors import ContextLengthError
from banyan.core.types import TokenSequence
from banyan.tasks.base import Task
from banyan.tokenizers.vocabulary import Vocabulary

E = TypeVar("E")


class Unlearnable(IntEnum):
    """Why an example gives no sequence."""

    WITHOUT_TARGET = 0  # the answer was cut off with the end of its source
    TOO_LONG = 1  # the question alone does not fit


Outcome: TypeAlias = TokenSequence | Unlearnable  # of rendering one example


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered(Generic[E]):
    """Training sequences, each with something to learn, and how many examples gave none."""

    examples: Sequence[E]  # of the sequences
    sequences: Sequence[TokenSequence]
    num_without_target: int
    num_too_long: int


def render_examples(task: Task[E], examples: Sequence[E], vocabulary: Vocabulary, *, max_tokens: int) -> Rendered[E]:
    """Render all examples that fit the context and whose answer was not cut off.

    Raises: DataError if an example has no answer.
    """
    outcomes = list(render_each(task, examples, vocabulary, max_tokens=max_tokens))
    learned = [(e, one) for e, one in zip(examples, outcomes, strict=True) if isinstance(one, TokenSequence)]
    return Rendered(
        examples=tuple(example for example, _ in learned),
        sequences=tuple(sequence for _, sequence in learned),
        num_without_target=outcomes.count(Unlearnable.WITHOUT_TARGET),
        num_too_long=outcomes.count(Unlearnable.TOO_LONG),
    )


def render_each(task: Task[E], examples: Iterable[E], vocabulary: Vocabulary, *, max_tokens: int) -> Iterator[Outcome]:
    """Yield what becomes of each example.

    Raises: as `render_examples`.
    """
    for example in examples:
        try:
            sequence = task.render(example, vocabulary, max_tokens=max_tokens)
        except ContextLengthError:
            yield Unlearnable.TOO_LONG
            continue
        yield sequence if any(sequence.loss_weights) else Unlearnable.WITHOUT_TARGET
