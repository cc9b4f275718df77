import json
from pathlib import Path

import pytest

from banyan.train.run_files import EVENTS_FILE
from banyan.train.state import STATE_FILE
from banyan.transfer.model_card import MeasuredScore
from banyan.workflows.measured_scores import measured_scores
from banyan.workflows.report import REPORT_JSON


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two checkpoints, of which the report speaks of the second."""
    run = tmp_path / "run"
    for step in (3, 6):
        folder = run / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / STATE_FILE).write_text(json.dumps({"version": 1, "step": step, "loader": {}, "settings": {}}))
    events = [
        {"event": "evaluated", "step": step, "metrics": {"score": 1.0, "topic/f1": step / 10, "topic/f1/zh": 0.0}}
        for step in (3, 6)
    ]
    (run / EVENTS_FILE).write_text("".join(json.dumps(event) + "\n" for event in events))
    scores = {"f1": 0.75, "f1/zh": 0.5}
    report = {"best_step": 6, "tasks": {"topic": {"num_examples": 60, "scores": scores}}}
    (run / REPORT_JSON).write_text(json.dumps(report))
    (run / "best").symlink_to("checkpoints/step-00000006")
    return run


def test_the_best_checkpoint_has_the_scores_of_the_report(run: Path) -> None:
    expected = MeasuredScore(task="topic", metric="f1", value=0.75, source="60 test examples")
    assert measured_scores(run / "best") == (expected,)


def test_another_checkpoint_has_those_of_its_own_evaluation(run: Path) -> None:
    expected = MeasuredScore(task="topic", metric="f1", value=0.3, source="validation examples")
    assert measured_scores(run / "checkpoints" / "step-00000003") == (expected,)


def test_a_model_outside_a_run_has_none(tmp_path: Path) -> None:
    assert measured_scores(tmp_path) == ()


def test_a_report_that_was_edited_says_nothing(run: Path) -> None:
    (run / REPORT_JSON).write_text('{"best_step": 6, "tasks": ["topic"]}')
    assert measured_scores(run / "best") == ()
