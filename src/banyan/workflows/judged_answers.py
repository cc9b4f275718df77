"""Answers beside the right ones, each judged by itself: which are right, and which are the good and the bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from banyan.core.types import Prediction
from banyan.tasks.base import Task
from banyan.workflows.scoring import unit_score

_RIGHT_FROM = 0.5  # score of a span or a written answer; there are many shades of right


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedAnswer:
    """An example, what was answered, and how good that is."""

    example: Any
    prediction: Prediction
    score: float  # the task's main score of this example alone, 0 to 1
    is_right: bool


def judge_answers(
    task: Task[Any], examples: Sequence[Any], predictions: Sequence[Prediction]
) -> tuple[JudgedAnswer, ...]:
    """Judge every answer by itself.

    A label is right if it is the right one, tags if all of them are; a span or a written answer from half of the full
    score on.
    """
    return tuple(_judge(task, example, prediction) for example, prediction in zip(examples, predictions, strict=True))


def _judge(task: Task[Any], example: Any, prediction: Prediction) -> JudgedAnswer:
    if prediction.labels is not None or prediction.tags is not None:
        is_right = prediction.text == task.reference(example)
        return JudgedAnswer(example=example, prediction=prediction, score=float(is_right), is_right=is_right)
    # Measured alone: among the others, a translation of one direction would be averaged with the empty other one.
    measured, metric = task.measure([example], [prediction]), task.main_metric
    score = unit_score(metric, measured.scores()[metric], lower_is_better=metric in measured.lower_is_better)
    return JudgedAnswer(example=example, prediction=prediction, score=score, is_right=score >= _RIGHT_FROM)


def best_and_worst(judged: Sequence[JudgedAnswer], *, num: int) -> tuple[JudgedAnswer, ...]:
    """Return the best of the right answers and the worst of the others, of each at most `num`, the surest first."""
    right = sorted((own for own in judged if own.is_right), key=lambda own: (-own.score, -_sureness(own)))
    wrong = sorted((own for own in judged if not own.is_right), key=lambda own: (own.score, -_sureness(own)))
    return (*right[:num], *wrong[:num])


def _sureness(judged: JudgedAnswer) -> float:
    return judged.prediction.score or 0.0
