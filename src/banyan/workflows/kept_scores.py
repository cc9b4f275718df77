"""What is kept of a run's scores, so that runs can be compared in pairs long after their models are gone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from banyan.core.config import config
from banyan.model.checkpoint import load_model
from banyan.runtime.description import read_description
from banyan.tasks.evaluate import TaskEvaluation
from banyan.tasks.intervals import resampled_scores
from banyan.workflows.datasets import spread
from banyan.workflows.live_model import judges_of, live_model
from banyan.workflows.material import Material
from banyan.workflows.reporter import Reporter
from banyan.workflows.scoring import TaskResult, evaluate_model, unit_score

_NUM_SAMPLES = 2000
_DIGITS = 6  # of a resampled score, between 0 and 1


@config
class TaskScore:
    """What one run scored on one task's test split, or its validation split where it has no other."""

    metric: str  # the one that is compared
    score: float  # as the metric has it
    unit: float  # between 0 and 1, better upwards
    num_examples: int
    samples: tuple[float, ...]  # `unit` on resampled test sets, the same ones for every run
    scores: dict[str, float]  # all that were measured


def score_checkpoint(
    checkpoint: Path, material: Material, *, device: torch.device, max_examples: int, reporter: Reporter
) -> dict[str, TaskResult]:
    """Score the tasks that a run has learned on their test splits, or their validation splits where they have no other.

    Raises: CheckpointError if its weights cannot be read.
    """
    model = load_model(checkpoint, device=device)
    model.heads.set_table_shares(read_description(checkpoint).table_shares)
    examples = {
        task.name: spread(material.test[task.name] or material.validation[task.name], max_examples)
        for task in material.tasks
    }
    with live_model(model, material) as answering:
        return evaluate_model(answering, examples, judges=judges_of(material), reporter=reporter, num_samples=2)


def kept_scores(results: Mapping[str, TaskResult], *, metrics: Mapping[str, str] | None = None) -> dict[str, TaskScore]:
    """Return what is kept of results; `metrics` names the score of a task that is compared, if not its main one."""
    chosen = metrics or {}
    return {name: _kept(result.evaluation, chosen.get(name)) for name, result in results.items()}


def _kept(evaluation: TaskEvaluation, metric: str | None) -> TaskScore:
    metric = metric or evaluation.main_metric
    drawn = resampled_scores(evaluation.measurement, score=metric, num_samples=_NUM_SAMPLES)
    as_unit = partial(unit_score, metric, lower_is_better=metric in evaluation.measurement.lower_is_better)
    return TaskScore(
        metric=metric,
        score=evaluation.scores[metric],
        unit=as_unit(evaluation.scores[metric]),
        num_examples=evaluation.num_examples,
        samples=tuple(round(as_unit(value), _DIGITS) for value in drawn.tolist()),
        scores=evaluation.scores,
    )
