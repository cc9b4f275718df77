"""What any kind of training run tells of its end: to a program as JSON, and to the shell as an exit code."""

from __future__ import annotations

from typing import Any

from banyan.workflows.picture_tokenizer.training import PictureTokenizerOutcome
from banyan.workflows.training import TrainingOutcome


def run_summary(outcome: TrainingOutcome | PictureTokenizerOutcome) -> dict[str, Any]:
    """Return what `--json` prints of every run."""
    result = outcome.result
    return {
        "run": str(outcome.run_directory),
        "stopped_by": result.stopped_by,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "parameters": outcome.num_parameters,
        "best": str(result.best_checkpoint),
        "best_step": result.best_step,
        "best_score": result.best_score,
    }


def run_exit_code(outcome: TrainingOutcome | PictureTokenizerOutcome) -> int:
    """Return 0, or 128 plus the number of the signal that interrupted the run."""
    number = outcome.result.signal_number
    return 0 if number is None else 128 + number
