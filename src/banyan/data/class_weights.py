"""Rare classes made to count more: a weight for each label, laid on the positions that carry it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from banyan.core.errors import UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.core.types import TokenSequence

ClassWeights: TypeAlias = Literal["balanced"] | dict[str, float]  # or a weight by label; 1 for one that is not named


def class_weigher(
    sequences: Sequence[TokenSequence], weights: ClassWeights | None, *, labels: Sequence[str]
) -> Callable[[TokenSequence], TokenSequence]:
    """Return what multiplies the loss of each target of a sequence by the weight of its label; None: by nothing.

    A task's loss is divided by the sum of all weights of a step, so it stays a mean. `sequences` are those of the task.
    Raises: UnknownNameError for a label that the task does not have.
    """
    if weights is None:
        return lambda sequence: sequence
    by_class = _balanced(sequences) if weights == "balanced" else _given(weights, labels)
    return lambda sequence: _weighted(sequence, by_class)


def _balanced(sequences: Sequence[TokenSequence]) -> Mapping[int, float]:
    """Return weights with which all classes that occur have the same part of the loss.

    Source: King and Zeng 2001, as in scikit-learn: targets / (classes × targets of the class).
    """
    counts = Counter(target for sequence in sequences for target, _ in _learned(sequence))
    total = counts.total()
    return {target: total / (len(counts) * count) for target, count in counts.items()}


def _given(weights: Mapping[str, float], labels: Sequence[str]) -> Mapping[int, float]:
    if unknown := next((label for label in weights if label not in labels), None):
        raise UnknownNameError(f"class_weights names no label of the task: {unknown!r}{did_you_mean(unknown, labels)}")
    return {labels.index(label): weight for label, weight in weights.items()}


def _learned(sequence: TokenSequence) -> Iterator[tuple[int, float]]:
    pairs = zip(sequence.targets, sequence.loss_weights, strict=True)
    return ((target, weight) for target, weight in pairs if weight > 0)


def _weighted(sequence: TokenSequence, by_class: Mapping[int, float]) -> TokenSequence:
    pairs = zip(sequence.targets, sequence.loss_weights, strict=True)
    return replace(sequence, loss_weights=tuple(by_class.get(target, 1.0) * weight for target, weight in pairs))
