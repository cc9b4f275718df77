from pathlib import Path

import pytest

from banyan.testing.clock import clock_with
from banyan.train.callbacks import CheckpointRecord, EvaluationRecord, EventRecord, RunStart, StepRecord
from banyan.workflows import training_progress
from banyan.workflows.reporter import SilentReporter, TrainingView
from banyan.workflows.training_progress import ReportProgress


class Heard(SilentReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.moves: list[tuple[float, float, str]] = []
        self.views: list[TrainingView] = []

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        self.moves.append((done, total, note))

    def training(self, view: TrainingView) -> None:
        self.views.append(view)

    def line(self, text: str) -> None:
        self.lines.append(text)


def step(number: int, num_steps: int = 10, task_losses: dict[str, float] | None = None) -> StepRecord:
    return StepRecord(
        step=number,
        num_steps=num_steps,
        loss=1.25,
        task_losses=task_losses or {},
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
    monkeypatch.setattr(training_progress, "time", clock_with(monotonic=lambda: 100.0))
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


def test_a_view_has_every_tasks_loss_and_its_course(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, now = Heard(), [100.0]
    monkeypatch.setattr(training_progress, "time", clock_with(monotonic=lambda: now[0]))
    told = ReportProgress(heard)
    for number, loss in enumerate((4.0, 2.0), start=1):
        now[0] += 1.0
        told.on_step(step(number, task_losses={"prose": loss}))
    told.on_step(step(3))  # a step without the task
    prose = heard.views[1].losses[1]
    assert (prose.name, prose.loss, prose.course) == ("prose", 2.0, (4.0, 2.0))
    assert heard.views[1].losses[0].name == "all tasks"


def test_time_left_counts_what_happens_between_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, now = Heard(), [100.0]
    monkeypatch.setattr(training_progress, "time", clock_with(monotonic=lambda: now[0]))
    told = ReportProgress(heard)
    for number in (1, 2, 3):
        told.on_step(step(number))
        now[0] += 2.0  # a step says 0.008 seconds; the rest is evaluation and saves
    assert [view.seconds_left for view in heard.views] == [None, 16.0, 14.0]


def test_utilisation_is_the_models_arithmetic_against_the_peak_and_only_measured_for_a_watcher() -> None:
    asked = []

    def peak() -> float:
        asked.append(1)
        return 1e6

    heard = Heard()
    told = ReportProgress(heard, flops_per_token=lambda: 20.0, peak_flops=peak)
    told.on_start(start(0))
    told.on_step(step(10))
    assert not asked and heard.views[-1].utilisation is None
    heard.is_live = True
    told.on_start(start(0))
    told.on_step(step(10))
    assert asked and heard.views[-1].utilisation == pytest.approx(20 * 12345.6 / 1e6)


def test_the_last_score_the_best_one_and_the_sample_are_in_the_view() -> None:
    heard = Heard()
    told = ReportProgress(heard)
    for at, score, is_best in ((1, 0.5, True), (2, 0.4, False)):
        told.on_evaluation(EvaluationRecord(step=at, score=score, metrics={}, is_best=is_best, seconds=0.1))
    told.show_sample("prose: a\n→ b")
    told.on_step(step(10))
    view = heard.views[-1]
    assert (view.score, view.scored_step, view.best_score, view.sample) == (0.4, 2, 0.5, "prose: a → b")
