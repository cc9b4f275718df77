"""A training run told to whoever watches: loss per task, speed, time left, the last score and the last sample."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from banyan.train.callbacks import Callback, CheckpointRecord, EvaluationRecord, EventRecord, RunStart, StepRecord
from banyan.workflows.reporter import LossTrend, Reporter, TrainingView
from banyan.workflows.trends import Trend

ALL_TASKS = "all tasks"
_SECONDS_BETWEEN_UPDATES = 0.2
_MAX_LINE = 400  # characters of an event


class ReportProgress(Callback):
    """Tells a reporter what a person who waits wants to know."""

    def __init__(
        self,
        reporter: Reporter,
        *,
        flops_per_token: Callable[[], float] | None = None,
        peak_flops: Callable[[], float] | None = None,
    ) -> None:
        self._reporter = reporter
        self._flops_per_token = flops_per_token
        self._peak_flops = peak_flops
        self._peak_tokens: float | None = None  # that the machine could do in a second; None: nobody asked
        self._losses: dict[str, _TaskLoss] = {}
        self._evaluation: EvaluationRecord | None = None
        self._best_score: float | None = None
        self._sample = ""
        self._told_at = 0.0
        self._pace = _Pace()
        self._num_tokens, self._seconds = 0, 0.0  # since the last view

    def on_start(self, record: RunStart) -> None:
        """Show where the run begins or goes on; find out what the machine could do, if somebody watches."""
        if record.step:
            self._reporter.line(f"going on after step {record.step} of {record.num_steps}")
        if self._reporter.is_live and self._peak_flops is not None and self._flops_per_token is not None:
            self._peak_tokens = self._peak_flops() / self._flops_per_token()

    def on_step(self, record: StepRecord) -> None:
        """Take the step in, and show it a few times a second."""
        now = time.monotonic()
        self._pace.add(record.step, now)
        for name, loss in {ALL_TASKS: record.loss, **record.task_losses}.items():
            self._losses.setdefault(name, _TaskLoss()).add(loss)
        self._num_tokens += record.num_tokens
        self._seconds += record.num_tokens / record.tokens_per_second
        if now - self._told_at < _SECONDS_BETWEEN_UPDATES and record.step < record.num_steps:
            return
        self._told_at = now
        view = self._view(record)
        score = "" if view.score is None else f" · score {view.score:.3f}"
        note = f"step {record.step} · loss {record.loss:.3f} · {view.tokens_per_second:,.0f} tokens/s{score}"
        self._reporter.progress(record.step, record.num_steps, note=note)
        self._reporter.training(view)
        self._num_tokens, self._seconds = 0, 0.0

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Remember the score."""
        self._evaluation = record
        if record.is_best:
            self._best_score = record.score

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Say nothing: a checkpoint is the rule."""

    def on_event(self, record: EventRecord) -> None:
        """Show what is not the rule."""
        if record.kind not in {"started", "resumed"}:
            self._reporter.line(f"step {record.step}: {_in_words(record)}"[:_MAX_LINE])

    def show_sample(self, text: str) -> None:
        """Show what the model answered last."""
        self._sample = " ".join(text.split())

    def _view(self, record: StepRecord) -> TrainingView:
        speed = self._num_tokens / self._seconds if self._seconds else record.tokens_per_second
        evaluation = self._evaluation
        return TrainingView(
            step=record.step,
            num_steps=record.num_steps,
            losses=tuple(loss.trend(name) for name, loss in self._losses.items()),
            learning_rate=record.learning_rate,
            tokens_per_second=speed,
            utilisation=speed / self._peak_tokens if self._peak_tokens else None,
            seconds_left=self._pace.seconds_left(record.num_steps),
            score=None if evaluation is None else evaluation.score,
            scored_step=None if evaluation is None else evaluation.step,
            best_score=self._best_score,
            sample=self._sample,
        )


class _TaskLoss:
    """A task's loss over the run, and since it was last shown."""

    def __init__(self) -> None:
        self._trend = Trend()
        self._recent: list[float] = []
        self._shown = math.nan

    def add(self, loss: float) -> None:
        if math.isfinite(loss):
            self._trend.add(loss)
            self._recent.append(loss)

    def trend(self, name: str) -> LossTrend:
        if self._recent:
            self._shown = sum(self._recent) / len(self._recent)
            self._recent = []
        return LossTrend(name=name, loss=self._shown, course=self._trend.course)


class _Pace:
    """How fast steps follow each other by the clock on the wall, and so with all that happens between them."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._last = (0, 0.0)

    def add(self, step: int, now: float) -> None:
        self._first = self._first or (step, now)
        self._last = (step, now)

    def seconds_left(self, num_steps: int) -> float | None:
        """Return the time that the remaining steps should take; None after the first one."""
        assert self._first is not None
        steps = self._last[0] - self._first[0]
        return (num_steps - self._last[0]) * (self._last[1] - self._first[1]) / steps if steps > 0 else None


def _in_words(record: EventRecord) -> str:
    """Return an event on one line; its numbers and samples are for `banyan diagnose`."""
    detail = record.detail
    if record.kind == "alarm":
        where = f" ({detail['where']})" if detail["where"] else ""
        return f"{detail['means']}{where}; {detail['action']}"
    plain = {key: value for key, value in detail.items() if isinstance(value, str | int | float)}
    return f"{record.kind} {' '.join(f'{key}={value}' for key, value in plain.items())}"
