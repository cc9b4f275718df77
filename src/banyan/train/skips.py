"""Updates that were not made: each is told, and too many of them end a run."""

from __future__ import annotations

from pathlib import Path

from banyan.train.callbacks import EventRecord
from banyan.train.remedies import Stop
from banyan.train.state import Progress
from banyan.train.stepper import StepTaken

MAX_SKIPPED, SKIP_WINDOW = 10, 100  # so many updates that no sound model makes, among so many, end a run
UNSOUND = ("not_finite", "diverged")


def note_skip(taken: StepTaken, progress: Progress, *, run_directory: Path) -> tuple[EventRecord, Stop | None]:
    """Return what to tell of an update that was not made, and the end of the run if the model keeps failing."""
    result, step = taken.result, progress.step
    signal = result.verdict.signal
    detail = {"signal": signal, "loss": str(result.loss), "grad_norm": str(result.grad_norm), "data": taken.place}
    event = EventRecord(step=step, kind="step_skipped", detail=detail)
    if signal not in UNSOUND:
        return event, None
    progress.skipped_steps = [*(earlier for earlier in progress.skipped_steps if earlier > step - SKIP_WINDOW), step]
    return event, _end(step, run_directory) if len(progress.skipped_steps) >= MAX_SKIPPED else None


def _end(step: int, run_directory: Path) -> Stop:
    reason = (
        f"{MAX_SKIPPED} of the last {SKIP_WINDOW} updates could not be made: the loss or the gradient was not "
        f"finite, or far from all before; the run stopped at step {step}."
    )
    saved = f"last good checkpoint: {run_directory / 'last'}"
    return Stop(reason=reason, hint=f"lower optimizer.learning_rate and optimizer.matrix_learning_rate; {saved}")
