"""How a run tells the world what it does: records, and the callbacks that receive them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class RunStart:
    """A run begins, or goes on after `step` steps."""

    step: int  # steps already done
    num_steps: int
    task_names: tuple[str, ...]
    run_directory: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One step that was done."""

    step: int  # counted from 1
    num_steps: int
    loss: float  # balanced over tasks: near 1 for a model that knows nothing
    task_losses: Mapping[str, float]  # nats, by task; only the tasks present in the step
    learning_rate: float  # of AdamW in this step; Muon's moves in proportion
    grad_norm: float
    num_tokens: int  # in this step
    tokens_per_second: float
    seconds: float  # of training since the run began, over all resumes; evaluations and saves left out
    is_applied: bool  # False: skipped, and the weights are as they were
    step_seconds: float = 0.0  # this step took
    task_cosines: Mapping[str, float] | None = None  # of gradients, running means by pair; None: not looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRecord:
    """The model was scored."""

    step: int
    score: float  # higher is better; chooses the best checkpoint
    metrics: Mapping[str, Any]  # what the evaluator reported, the score among it
    is_best: bool
    seconds: float  # the evaluation took


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRecord:
    """A checkpoint is complete on disk."""

    step: int
    path: Path
    size_bytes: int
    is_best: bool
    seconds: float  # the save took


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRecord:
    """Something else happened: started, resumed, step_skipped, checkpoint_failed, checkpoint_quarantined, stopped …"""

    step: int
    kind: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class FitResult:
    """How a run ended."""

    steps: int  # done in all, resumes included
    seconds: float  # of training; evaluations and saves left out
    stopped_by: str  # "completed", "early_stop" or "interrupt"
    last_checkpoint: Path
    best_checkpoint: Path
    best_step: int
    best_score: float | None = None  # None: nothing was evaluated
    signal_number: int | None = None  # which signal interrupted it


Record: TypeAlias = RunStart | StepRecord | EvaluationRecord | CheckpointRecord | EventRecord | FitResult


class Callback:
    """Hears of everything a run does. Override what you need; an exception ends the run."""

    def on_start(self, record: RunStart) -> None:
        """Hear that the run begins or goes on."""

    def on_step(self, record: StepRecord) -> None:
        """Hear of every step."""

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Hear of every evaluation."""

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Hear of every checkpoint, once it is complete."""

    def on_event(self, record: EventRecord) -> None:
        """Hear of everything else."""

    def on_end(self, result: FitResult) -> None:
        """Hear that the run ended in order; not called when an error ends it."""

    def close(self) -> None:
        """Let go of files and threads; always called, after everything else."""


def tell(callbacks: Iterable[Callback], record: Record) -> None:
    """Give a record to the right method of every callback, in turn."""
    for callback in callbacks:
        match record:
            case RunStart():
                callback.on_start(record)
            case StepRecord():
                callback.on_step(record)
            case EvaluationRecord():
                callback.on_evaluation(record)
            case CheckpointRecord():
                callback.on_checkpoint(record)
            case EventRecord():
                callback.on_event(record)
            case FitResult():
                callback.on_end(record)
