"""What `banyan evaluate` says without another way asked for: every score of every task; and on what it is scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan import __version__
from banyan.cli.output import console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.workflows.evaluation import EvaluationRun, evaluate

TasksOption = Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be given again.")]
DataOption = Annotated[
    list[str] | None, typer.Option("--data", help="task=file: score on this file instead of the test split.")
]
SplitOption = Annotated[str, typer.Option(help="test, validation or train, as the model's own recipe names them.")]
MaxExamplesOption = Annotated[int, typer.Option(min=1, help="At most so many of each task.")]
SavePredictionsOption = Annotated[Path | None, typer.Option(help="Write every prediction there, as JSON lines.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringQuestion:
    """Which examples of which tasks a model is scored on."""

    tasks: tuple[str, ...]
    data: tuple[str, ...]  # task=file
    split: str
    max_examples: int
    base: Path | None  # where an adapter's model lies


def run_scoring(
    model: Path,
    asked: ScoringQuestion,
    *,
    save_predictions: Path | None,
    database: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score a model and say what was found.

    Raises: as `evaluate`.
    """
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        run = evaluate(
            model,
            tasks=asked.tasks,
            data=asked.data,
            split=asked.split,
            max_examples=asked.max_examples,
            save_predictions=save_predictions,
            database=database,
            base=asked.base,
            reporter=reporter,
        )
    emit(summary(run), as_json=as_json, quiet=quiet, text=lambda: tell(run))


def summary(run: EvaluationRun) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "model": str(run.model),
        "banyan": __version__,
        "split": run.split,
        "tasks": {
            name: {
                "main_metric": e.main_metric,
                "scores": e.scores,
                "intervals": {metric: [i.low, i.high] for metric, i in e.intervals.items()},
                "num_examples": e.num_examples,
                "signatures": dict(e.measurement.signatures),
            }
            for name, e in run.evaluations.items()
        },
    }


def tell(run: EvaluationRun) -> None:
    """Print a table of every score."""
    rows = [
        (name if metric == e.main_metric else "", metric, f"{value:.4f}", _interval(e, metric), e.num_examples)
        for name, e in run.evaluations.items()
        for metric, value in sorted(e.scores.items(), key=lambda item: item[0] != e.main_metric)
    ]
    print_table(("task", "metric", "score", "95 % interval", "examples"), rows)
    if run.predictions_file is not None:
        say(f"predictions: {run.predictions_file}")


def _interval(evaluation: Any, metric: str) -> str:
    interval = evaluation.intervals.get(metric)
    return f"{interval.low:.4f} – {interval.high:.4f}" if interval else ""
