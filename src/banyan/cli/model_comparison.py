"""What `banyan evaluate A --against B` says: one row for each task, and which differences are more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.output import console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.scoring import ScoringQuestion
from banyan.workflows.model_comparison import ModelComparison, TaskComparison, compare_models

AgainstOption = Annotated[
    Path | None, typer.Option(help="Another model directory: which of the two is better at what, on the same examples.")
]


def run_model_comparison(first: Path, second: Path, asked: ScoringQuestion, *, as_json: bool, quiet: bool) -> None:
    """Compare two models and say what was found.

    Raises: as `compare_models`.
    """
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        found = compare_models(
            first,
            second,
            tasks=asked.tasks,
            data=asked.data,
            split=asked.split,
            max_examples=asked.max_examples,
            base=asked.base,
            reporter=reporter,
        )
    emit(_plain(found), as_json=as_json, quiet=quiet, text=lambda: _tell(found))


def _plain(found: ModelComparison) -> dict[str, Any]:
    return {
        "first": str(found.first),
        "second": str(found.second),
        "split": found.split,
        "tasks": {own.task: _plain_task(own) for own in found.tasks},
        "left_out": list(found.left_out),
    }


def _plain_task(own: TaskComparison) -> dict[str, Any]:
    interval = own.comparison.interval
    return {
        "metric": own.metric,
        "num_examples": own.num_examples,
        "first": own.first,
        "second": own.second,
        "difference": own.comparison.improvement,
        "interval": [interval.low, interval.high],
        "p": own.comparison.p_value,
        "p_holm": own.corrected_p,
        "first_is": own.verdict,
    }


def _tell(found: ModelComparison) -> None:
    columns = ("task", "metric", "first", "second", "first better by", "95 % interval", "p", "p (Holm)", "the first is")
    print_table(columns, [_row(own) for own in found.tasks])
    say(f"first: {found.first}; second: {found.second}; paired bootstrap over the same {found.split} examples")
    for line in found.left_out:
        say(f"left out: {line}")


def _row(own: TaskComparison) -> tuple[str, ...]:
    comparison = own.comparison
    return (
        f"{own.task} ({own.num_examples})",
        own.metric,
        f"{own.first:.4f}",
        f"{own.second:.4f}",
        f"{comparison.improvement:+.4f}",
        f"{comparison.interval.low:+.4f} – {comparison.interval.high:+.4f}",
        f"{comparison.p_value:.4f}",
        f"{own.corrected_p:.4f}",
        own.verdict,
    )
