"""Any model that answers → its scores on examples, task by task, with the baselines beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from banyan.core.types import Prediction
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.base import Task
from banyan.tasks.evaluate import (
    TaskEvaluation,
    evaluate_bits,
    evaluate_code_bits,
    evaluate_likelihood,
    evaluate_task,
    merge_evaluations,
)
from banyan.tasks.image_generation import ImageGeneration, judge_pictures
from banyan.tasks.intervals import Comparison
from banyan.tasks.metrics.likelihood import BITS_PER_CODE
from banyan.workflows.judge import Judge
from banyan.workflows.reporter import Reporter

BITS_PER_BYTE_OF_NOISE = 8.0
BITS_PER_CODE_OF_NOISE = 10.0  # of a codebook of a thousand, as the recipes' is


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineResult:
    """What a simple system scored on the same examples, and how much better the model is."""

    name: str
    is_trivial: bool
    evaluation: TaskEvaluation
    comparison: Comparison  # the model minus this baseline, by the task's main score
    num_train: int  # training examples it learned from
    num_available: int  # training examples there are


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """One row of a report."""

    task: Task[Any]
    evaluation: TaskEvaluation
    examples: tuple[Any, ...]
    baselines: tuple[BaselineResult, ...] = ()

    @property
    def beats_trivial(self) -> bool | None:
        """Is the model above its trivial baseline by more than the 95 % interval? None where there is none."""
        trivial = [result for result in self.baselines if result.is_trivial]
        return all(result.comparison.is_better for result in trivial) if trivial else None


def evaluate_model(
    model: LoadedModel,
    examples: Mapping[str, Sequence[Any]],
    *,
    judges: Mapping[str, Judge | None],
    reporter: Reporter,
    num_samples: int = 1000,
    on_predictions: Callable[[str, Sequence[Any], Sequence[Prediction]], None] | None = None,
) -> dict[str, TaskResult]:
    """Score every task that has examples. A drawing task without a judge is scored by likelihood alone."""
    results: dict[str, TaskResult] = {}
    with_examples = {name: items for name, items in examples.items() if items}
    for number, (name, items) in enumerate(with_examples.items()):
        task = model.task(name)
        evaluation = evaluate_one(model, task, items, judge=judges.get(name), num_samples=num_samples)
        results[name] = TaskResult(task=task, evaluation=evaluation, examples=tuple(items))
        if on_predictions is not None and evaluation.predictions:
            on_predictions(name, items, evaluation.predictions)
        reporter.progress(number + 1, len(with_examples), note=name)
    return results


def evaluate_one(
    model: LoadedModel, task: Task[Any], examples: Sequence[Any], *, judge: Judge | None, num_samples: int = 1000
) -> TaskEvaluation:
    """Score one task with the official metric of its kind."""
    if task.kind == "language_modeling":
        texts = [example.text for example in examples]
        return evaluate_bits(task.name, texts, model.engine.bits, num_samples=num_samples)
    if isinstance(task, ImageGeneration):
        return _score_drawing(model, task, examples, judge=judge, num_samples=num_samples)
    evaluation = evaluate_task(
        task, examples, lambda given: answer_all(model, task, given, judge=judge), num_samples=num_samples
    )
    if task.kind == "dialogue":
        return merge_evaluations(evaluation, _likelihood(model, task, examples, num_samples=num_samples))
    return evaluation


def _score_drawing(
    model: LoadedModel, task: ImageGeneration, examples: Sequence[Any], *, judge: Judge | None, num_samples: int
) -> TaskEvaluation:
    """Let the judge look at what is drawn, and weigh the codes of the real pictures where the task is chosen by them.

    Without a judge nothing is drawn.
    """
    by_codes = None
    if task.chosen_metric == BITS_PER_CODE:
        by_codes = _likelihood(model, task, examples, num_samples=num_samples, evaluate=evaluate_code_bits)
    if judge is None:
        return by_codes or _likelihood(model, task, examples, num_samples=num_samples)
    drawn = evaluate_task(
        task, examples, lambda given: answer_all(model, task, given, judge=judge), num_samples=num_samples
    )
    return drawn if by_codes is None else merge_evaluations(drawn, by_codes)


def answer_all(
    model: LoadedModel, task: Task[Any], examples: Sequence[Any], *, judge: Judge | None
) -> list[Prediction]:
    """Answer examples; what a drawing task draws is looked at by the judge."""
    predictions = model.answer(task.name, examples)
    return (
        judge_pictures(predictions, judge) if judge is not None and isinstance(task, ImageGeneration) else predictions
    )


def _likelihood(
    model: LoadedModel,
    task: Task[Any],
    examples: Sequence[Any],
    *,
    num_samples: int,
    evaluate: Callable[..., TaskEvaluation] = evaluate_likelihood,
) -> TaskEvaluation:
    return evaluate(
        task,
        examples,
        model.engine.log_likelihood,
        model.vocabulary,
        max_tokens=model.max_seq_len,
        num_samples=num_samples,
    )


def overall_score(evaluations: Mapping[str, TaskEvaluation]) -> float:
    """Return the mean of all tasks' main scores, each between 0 and 1 and better upwards.

    Bits per byte count as the share of the 8 bits that were saved, bits per image code likewise of 10, perplexity as
    its inverse.
    """
    return math.fsum(unit_scores(evaluations).values()) / max(1, len(evaluations))


def unit_scores(evaluations: Mapping[str, TaskEvaluation]) -> dict[str, float]:
    """Return the main score of every task, each between 0 and 1 and better upwards."""
    return {
        name: unit_score(own.main_metric, own.score, lower_is_better=own.lower_is_better)
        for name, own in evaluations.items()
    }


def unit_score(metric: str, score: float, *, lower_is_better: bool = False) -> float:
    """Return a score between 0 and 1 and better upwards; one of a part (bleu/en>de) as that of the whole.

    Of a score that no kind of ours has only the direction is known: 1 / (1 + score) where lower is better.
    """
    metric = metric.partition("/")[0]
    if metric == "bits_per_byte":
        return 1.0 - score / BITS_PER_BYTE_OF_NOISE
    if metric == BITS_PER_CODE:
        return 1.0 - score / BITS_PER_CODE_OF_NOISE
    if metric == "perplexity":
        return 1.0 / max(1.0, score)
    if lower_is_better:
        return 1.0 / (1.0 + max(0.0, score))
    # chrF and BLEU are given out of 100.
    return score / 100.0 if metric in {"chrf", "bleu"} else score
