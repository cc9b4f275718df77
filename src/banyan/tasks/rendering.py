"""Rendering many examples for training, and counting those that a model cannot learn from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from banyan.core.errors import ContextLengthError
from banyan.core.types import TokenSequence
from banyan.tasks.base import Task
from banyan.tokenizers.vocabulary import Vocabulary

E = TypeVar("E")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered(Generic[E]):
    """Training sequences, each with something to learn, and how many examples gave none."""

    examples: tuple[E, ...]  # of the sequences
    sequences: tuple[TokenSequence, ...]
    num_cut: int  # sources that lost their end
    num_without_target: int  # the answer was cut off with the end of its source
    num_too_long: int  # the question alone does not fit


def render_examples(task: Task[E], examples: Iterable[E], vocabulary: Vocabulary, *, max_tokens: int) -> Rendered[E]:
    """Render all examples that fit the context and whose answer was not cut off.

    Raises: DataError if an example has no answer.
    """
    learned: list[E] = []
    sequences: list[TokenSequence] = []
    num_cut = num_without_target = num_too_long = 0
    for example in examples:
        try:
            prompt = task.prompt(example, vocabulary, max_tokens=max_tokens)
            sequence = task.complete(prompt, example, vocabulary, max_tokens=max_tokens)
        except ContextLengthError:
            num_too_long += 1
            continue
        num_cut += prompt.num_dropped_tokens > 0
        if any(sequence.loss_weights):
            learned.append(example)
            sequences.append(sequence)
        else:
            num_without_target += 1
    return Rendered(
        examples=tuple(learned),
        sequences=tuple(sequences),
        num_cut=num_cut,
        num_without_target=num_without_target,
        num_too_long=num_too_long,
    )
