import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from banyan.train.config import TrainConfig
from banyan.train.evaluations import Evaluations, EvaluationStopped, evaluated_by_main
from banyan.train.ranks import ALONE, Alone
from banyan.train.state import Progress

CONFIG = TrainConfig(steps=10, evaluate_every=4, early_stop_patience=2)


def evaluations(*scores: float) -> Evaluations:
    left = list(scores)

    def score(model: Any, step: int) -> dict[str, float]:
        assert not model.training
        return {"score": left.pop(0)}

    return Evaluations(score, config=CONFIG)


@pytest.mark.parametrize(("step", "is_owed"), [(0, False), (3, False), (4, True), (8, True), (9, False), (10, True)])
def test_scores_are_owed_at_every_interval_and_at_the_end(step: int, is_owed: bool) -> None:
    assert evaluations().is_owed(Progress(step=step)) == is_owed
    assert not Evaluations(None, config=CONFIG).is_owed(Progress(step=step))


def test_the_best_score_is_remembered_and_patience_runs_out() -> None:
    found, progress, model = evaluations(0.5, 0.4, math.nan), Progress(step=4), nn.Linear(1, 1)
    assert found.score(model, progress).is_best and model.training
    assert not found.is_owed(progress)
    for step in (8, 10):
        assert not found.has_stalled(progress)
        progress.step = step
        assert not found.score(model, progress).is_best
    assert found.has_stalled(progress) and (progress.best_step, progress.best_score) == (4, 0.5)


def stop(model: Any, step: int) -> dict[str, float]:
    raise EvaluationStopped


def test_scores_that_were_stopped_are_owed_as_before() -> None:
    found, progress, model = Evaluations(stop, config=CONFIG), Progress(step=4), nn.Linear(1, 1)
    with pytest.raises(EvaluationStopped):
        found.score(model, progress)
    assert found.is_owed(progress) and progress == Progress(step=4) and model.training


def test_where_the_main_rank_is_stopped_all_are() -> None:
    class Second(Alone):
        def from_main(self, work: Callable[[], Any]) -> Any:
            return json.loads(json.dumps(ALONE.from_main(work)))  # as it comes from another process

    with pytest.raises(EvaluationStopped):
        evaluated_by_main(stop, Second())(nn.Linear(1, 1), 4)
    assert evaluated_by_main(lambda model, step: {"score": step}, Second())(nn.Linear(1, 1), 4) == {"score": 4}
