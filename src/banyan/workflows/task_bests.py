"""The best model of each task: what is best for all together need not be best for every one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from banyan.core.config import config, config_from_mapping, config_to_mapping
from banyan.core.errors import SpaceError
from banyan.core.files import atomic_write_json, read_json
from banyan.tasks.base import Task
from banyan.train.callbacks import Callback, CheckpointRecord, EvaluationRecord, RunStart
from banyan.workflows.model_copies import copy_model

FOLDER = "best_of"  # of a run: a model directory for each task, and their scores
SCORES_FILE = "scores.json"


@config
class TaskBest:
    """When a task scored best on its validation examples."""

    step: int
    metric: str
    score: float


class TaskBests(Callback):
    """Keeps, for every task, the checkpoint at which it scored best; files are shared with the checkpoints."""

    def __init__(self, run_directory: Path, tasks: Sequence[Task[Any]]) -> None:
        self._folder = run_directory / FOLDER
        self._tasks = tasks
        self._bests: dict[str, TaskBest] = {}
        self._waiting: dict[int, dict[str, TaskBest]] = {}  # by step, until its checkpoint is complete

    def on_start(self, record: RunStart) -> None:
        """Take up what an interrupted run has kept."""
        self._bests = read_task_bests(record.run_directory) if record.step else {}

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Note what every task scored, until the checkpoint of this step is there."""
        found = {task.name: _best_of(task, record) for task in self._tasks}
        self._waiting[record.step] = {name: best for name, best in found.items() if best is not None}

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Keep the checkpoint for the tasks that have never scored better."""
        scored = self._waiting.pop(record.step, {})
        improved = [task.name for task in self._tasks if task.name in scored and self._is_better(task, scored)]
        for name in improved:
            with suppress(SpaceError):  # a full disk ends no run here, as little as at a checkpoint
                copy_model(record.path, self._folder / name)
                self._bests[name] = scored[name]
        if improved:
            atomic_write_json(self._folder / SCORES_FILE, config_to_mapping(self._bests))

    def _is_better(self, task: Task[Any], scored: Mapping[str, TaskBest]) -> bool:
        best, known = scored[task.name], self._bests.get(task.name)
        return known is None or (best.score < known.score if task.lower_is_better else best.score > known.score)


def _best_of(task: Task[Any], record: EvaluationRecord) -> TaskBest | None:
    metric = task.chosen_metric
    score = record.metrics.get(f"{task.name}/{metric}")
    if score is None or not math.isfinite(score):  # no later score would be better than NaN
        return None
    return TaskBest(step=record.step, metric=metric, score=float(score))


def read_task_bests(run_directory: Path) -> dict[str, TaskBest]:
    """Return when each task of a run scored best; none where that was not kept.

    Raises: FileError or ConfigError if the file cannot be read.
    """
    path = run_directory / FOLDER / SCORES_FILE
    stored: Mapping[str, Any] = read_json(path) if path.is_file() else {}
    return {name: config_from_mapping(TaskBest, best, source=str(path)) for name, best in stored.items()}
