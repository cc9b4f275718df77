"""When a run is scored, and what it remembers of its scores."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from banyan.train.callbacks import EvaluationRecord
from banyan.train.config import TrainConfig
from banyan.train.ranks import Ranks
from banyan.train.state import Progress

Evaluator = Callable[[Any, int], Mapping[str, Any]]  # (model, step) → {"score": higher is better, …}


class EvaluationStopped(Exception):
    """An evaluation ended in its middle because the run is to stop: there is no score."""


def evaluated_by_main(evaluator: Evaluator, ranks: Ranks) -> Evaluator:
    """Return an evaluator whose work the main rank does, on the whole model, and whose scores all ranks know.

    Where the main rank stops its work, all ranks know that, too.
    """

    def evaluate(model: Any, step: int) -> Mapping[str, Any]:
        whole = ranks.whole_model(model).eval()
        metrics = ranks.from_main(lambda: _scores_unless_stopped(evaluator, whole, step))
        if metrics is None:
            raise EvaluationStopped
        return metrics

    return evaluate


def _scores_unless_stopped(evaluator: Evaluator, model: Any, step: int) -> dict[str, Any] | None:
    try:
        return dict(evaluator(model, step))
    except EvaluationStopped:
        return None


class Evaluations:
    """The scores of one run; without an evaluator it is never scored."""

    def __init__(self, evaluator: Evaluator | None, *, config: TrainConfig) -> None:
        self._evaluator = evaluator
        self._config = config

    def is_owed(self, progress: Progress) -> bool:
        """Whether the step the run stands at is to be scored, and has not been."""
        step = progress.step
        is_due = step > 0 and (step % self._config.evaluation_interval == 0 or step >= self._config.steps)
        return self._evaluator is not None and is_due and progress.evaluated_step != step

    def has_stalled(self, progress: Progress) -> bool:
        """Whether the run has gone without a better score for as long as it may."""
        patience = self._config.early_stop_patience
        return patience is not None and progress.evaluations_without_gain >= patience

    def score(self, model: nn.Module, progress: Progress) -> EvaluationRecord:
        """Score the model and remember whether it is the best so far.

        Raises: EvaluationStopped; then nothing is remembered, and the scores are still owed.
        """
        assert self._evaluator is not None, "nothing is owed without an evaluator"
        started = time.perf_counter()
        model.eval()
        try:
            metrics = self._evaluator(model, progress.step)
        finally:
            model.train()
        score = float(metrics["score"])
        is_best = math.isfinite(score) and (progress.best_score is None or score > progress.best_score)
        progress.evaluated_step = progress.step
        progress.evaluations_without_gain = 0 if is_best else progress.evaluations_without_gain + 1
        if is_best:
            progress.best_step, progress.best_score = progress.step, score
        seconds = time.perf_counter() - started
        return EvaluationRecord(step=progress.step, score=score, metrics=metrics, is_best=is_best, seconds=seconds)
