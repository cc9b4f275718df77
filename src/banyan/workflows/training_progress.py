"""A training run on a progress bar: step, loss, throughput, and the score of each evaluation."""

from __future__ import annotations

import time

from banyan.train.callbacks import Callback, CheckpointRecord, EvaluationRecord, EventRecord, RunStart, StepRecord
from banyan.workflows.reporter import Reporter

_SECONDS_BETWEEN_UPDATES = 0.2


class ReportProgress(Callback):
    """Tells a reporter what a person who waits wants to know."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._score: float | None = None
        self._told_at = 0.0

    def on_start(self, record: RunStart) -> None:
        """Show where the run begins or goes on."""
        if record.step:
            self._reporter.line(f"going on after step {record.step} of {record.num_steps}")

    def on_step(self, record: StepRecord) -> None:
        """Move the bar, a few times a second."""
        now = time.monotonic()
        if now - self._told_at < _SECONDS_BETWEEN_UPDATES and record.step < record.num_steps:
            return
        self._told_at = now
        score = "" if self._score is None else f" · score {self._score:.3f}"
        note = f"step {record.step} · loss {record.loss:.3f} · {record.tokens_per_second:,.0f} tokens/s{score}"
        self._reporter.progress(record.step, record.num_steps, note=note)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Remember the score."""
        self._score = record.score

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Say nothing: a checkpoint is the rule."""

    def on_event(self, record: EventRecord) -> None:
        """Show what is not the rule."""
        if record.kind not in {"started", "resumed"}:
            detail = " ".join(f"{key}={value}" for key, value in record.detail.items())
            self._reporter.line(f"step {record.step}: {record.kind} {detail}"[:400])
