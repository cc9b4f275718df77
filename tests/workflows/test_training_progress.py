from pathlib import Path

import pytest

from banyan.train.callbacks import CheckpointRecord, EvaluationRecord, EventRecord, RunStart, StepRecord
from banyan.workflows import training_progress
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training_progress import ReportProgress


class Heard(SilentReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.moves: list[tuple[float, float, str]] = []

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        self.moves.append((done, total, note))

    def line(self, text: str) -> None:
        self.lines.append(text)


def step(number: int, num_steps: int = 10) -> StepRecord:
    return StepRecord(
        step=number,
        num_steps=num_steps,
        loss=1.25,
        task_losses={},
        learning_rate=0.1,
        grad_norm=1.0,
        num_tokens=100,
        tokens_per_second=12345.6,
        seconds=0.5,
        is_applied=True,
    )


def start(at: int) -> RunStart:
    return RunStart(step=at, num_steps=10, task_names=("a",), run_directory=Path())


def test_a_step_shows_loss_speed_and_the_last_score() -> None:
    heard = Heard()
    told = ReportProgress(heard)
    told.on_evaluation(EvaluationRecord(step=1, score=0.5, metrics={}, is_best=True, seconds=0.1))
    told.on_step(step(1))
    assert heard.moves == [(1, 10, "step 1 · loss 1.250 · 12,346 tokens/s · score 0.500")]


def test_the_bar_moves_a_few_times_a_second_and_always_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    told = ReportProgress(heard)
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: 100.0)
    for number in range(1, 11):
        told.on_step(step(number))
    assert [done for done, _, _ in heard.moves] == [1, 10]


def test_only_what_is_not_the_rule_is_a_line() -> None:
    heard = Heard()
    told = ReportProgress(heard)
    told.on_start(start(0))
    told.on_event(EventRecord(step=0, kind="started"))
    told.on_checkpoint(CheckpointRecord(step=1, path=Path("x"), size_bytes=1, is_best=False, seconds=0.1))
    assert heard.lines == []
    told.on_start(start(4))
    told.on_event(EventRecord(step=4, kind="step_skipped", detail={"loss": "nan"}))
    assert heard.lines == ["going on after step 4 of 10", "step 4: step_skipped loss=nan"]


def test_a_long_event_is_cut() -> None:
    heard = Heard()
    ReportProgress(heard).on_event(EventRecord(step=4, kind="step_skipped", detail={"data": "x" * 1000}))
    assert len(heard.lines[0]) == 400
