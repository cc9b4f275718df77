"""What `banyan evaluate --calibrate` says: what was fitted for each classifier, and its error before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.scoring import ScoringQuestion
from banyan.workflows.calibration import TaskCalibration, calibrate

CalibrateOption = Annotated[
    bool,
    typer.Option("--calibrate", help="Fit each classifier's temperature (validation) and keep it in the model."),
]


def run_calibration(model: Path, asked: ScoringQuestion, *, as_json: bool, quiet: bool) -> None:
    """Calibrate a model and say what it changed.

    Raises: as `calibrate`.
    """
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        found = calibrate(
            model,
            tasks=asked.tasks,
            data=asked.data,
            split=asked.split,
            max_examples=asked.max_examples,
            base=asked.base,
            reporter=reporter,
        )
    plain = {"model": str(model), "tasks": {name: dataclasses.asdict(own) for name, own in found.items()}}
    emit(plain, as_json=as_json, quiet=quiet, text=lambda: _tell(model, found))


def _tell(model: Path, found: Mapping[str, TaskCalibration]) -> None:
    columns = ("task", "temperature", "table's share", "fitted on", "measured on", "right before", "after")
    errors = ("ECE before", "after", "adaptive before", "after")
    print_table((*columns, *errors), [_row(name, own) for name, own in found.items()])
    labels = (
        "labels change where a table has another share" if any(map(_has_table, found.values())) else "labels do not"
    )
    say(f"kept in {model}/banyan.json: probabilities change, {labels}")


def _has_table(own: TaskCalibration) -> bool:
    return own.table_share is not None


def _row(name: str, own: TaskCalibration) -> tuple[object, ...]:
    sides = ((own.before, own.intervals_before), (own.after, own.intervals_after))
    errors = [_error(*side, metric) for metric in ("ece", "adaptive_ece") for side in sides]
    return (
        name,
        f"{own.temperature:.3f}",
        "–" if own.table_share is None else f"{own.table_share:.2f}",
        f"{own.num_fitted} validation",
        f"{own.num_measured} {own.measured_on}",
        f"{own.accuracy_before:.4f}",
        f"{own.accuracy_after:.4f}",
        *errors,
    )


def _error(scores: Mapping[str, float], intervals: Mapping[str, tuple[float, float]], metric: str) -> str:
    low, high = intervals[metric]
    return f"{scores[metric]:.4f} [{low:.4f}, {high:.4f}]"
