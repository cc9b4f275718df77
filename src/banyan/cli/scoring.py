"""What `banyan evaluate` says without another way asked for: every score of every task; and on what it is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan import __version__
from banyan.cli.output import console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.workflows.evaluation import Beside, EvaluationRun, Systems, evaluate
from banyan.workflows.evaluation_report import write_evaluation_report
from banyan.workflows.scoring import BaselineResult, TaskResult

TasksOption = Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be given again.")]
DataOption = Annotated[
    list[str] | None, typer.Option("--data", help="task=file: score on this file instead of the test split.")
]
SplitOption = Annotated[str, typer.Option(help="test, validation or train, as the model's own recipe names them.")]
MaxExamplesOption = Annotated[int, typer.Option(min=1, help="At most so many of each task.")]
SavePredictionsOption = Annotated[Path | None, typer.Option(help="Write every prediction there, as JSON lines.")]
ReportOption = Annotated[
    Path | None, typer.Option(help="Write scores and examples, good and bad, there: a page of Markdown.")
]


BaselinesOption = Annotated[
    Systems,
    typer.Option(
        metavar="[none|fast|all]",
        help="Simple systems to stand beside: none, the fast ones, or all (CRF and fastText take minutes).",
    ),
]
BaselineExamplesOption = Annotated[
    int, typer.Option(min=1, help="Training examples each simple system learns from, at most.")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringQuestion:
    """Which examples of which tasks a model is scored on."""

    tasks: Sequence[str]
    data: Sequence[str]  # task=file
    split: str
    max_examples: int
    base: Path | None  # where an adapter's model lies


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """Where what was found is kept, beside being said."""

    predictions: Path | None
    report: Path | None
    database: str | None  # its URL; None: the usual one


def run_scoring(
    model: Path, asked: ScoringQuestion, *, written: Written, beside: Beside, as_json: bool, quiet: bool
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
            save_predictions=written.predictions,
            database=written.database,
            base=asked.base,
            beside=beside,
            reporter=reporter,
        )
    if written.report is not None:
        write_evaluation_report(written.report, run.results, model=run.model, split=run.split)
    emit(summary(run), as_json=as_json, quiet=quiet, text=lambda: tell(run, report=written.report))


def summary(run: EvaluationRun) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "model": str(run.model),
        "banyan": __version__,
        "split": run.split,
        "tasks": {name: _plain_task(result) for name, result in run.results.items()},
    }


def _plain_task(result: TaskResult) -> dict[str, Any]:
    return {
        **_plain_scores(result.evaluation),
        "num_examples": result.evaluation.num_examples,
        "signatures": dict(result.evaluation.measurement.signatures),
        "beats_trivial": result.beats_trivial,
        "baselines": [_plain_baseline(own) for own in result.baselines],
    }


def _plain_scores(evaluation: Any) -> dict[str, Any]:
    intervals = {metric: [i.low, i.high] for metric, i in evaluation.intervals.items()}
    return {"main_metric": evaluation.main_metric, "scores": evaluation.scores, "intervals": intervals}


def _plain_baseline(own: BaselineResult) -> dict[str, Any]:
    comparison = own.comparison
    return {
        "name": own.name,
        "is_trivial": own.is_trivial,
        **_plain_scores(own.evaluation),
        "model_better_by": comparison.improvement,
        "model_better_by_interval": [comparison.interval.low, comparison.interval.high],
        "p": comparison.p_value,
        "num_train_examples": own.num_train,
        "num_train_available": own.num_available,
    }


def tell(run: EvaluationRun, *, report: Path | None = None) -> None:
    """Print a table of every score, one of the simple systems beside the model, and who scored."""
    rows = [
        (name if metric == e.main_metric else "", metric, f"{value:.4f}", _interval(e, metric), e.num_examples)
        for name, e in run.evaluations.items()
        for metric, value in sorted(e.scores.items(), key=lambda item: item[0] != e.main_metric)
    ]
    print_table(("task", "metric", "score", "95 % interval", "examples"), rows)
    if any(result.baselines for result in run.results.values()):
        _tell_baselines(run)
    for line in dict.fromkeys(_signature(e) for e in run.evaluations.values()):
        say(line)
    if run.predictions_file is not None:
        say(f"predictions: {run.predictions_file}")
    if report is not None:
        say(f"report: {report}")


def _signature(evaluation: Any) -> str:
    metric = evaluation.main_metric
    return f"{metric}: {evaluation.measurement.signatures.get(metric, 'as the kind of task defines it')}"


def _tell_baselines(run: EvaluationRun) -> None:
    columns = (
        "task",
        "metric",
        "simple system",
        "score",
        "95 % interval",
        "model better by",
        "95 % interval",
        "learned from",
    )
    rows = [_baseline_row(name, own) for name, result in run.results.items() for own in result.baselines]
    print_table(columns, rows)


def _baseline_row(task: str, own: BaselineResult) -> tuple[str, ...]:
    evaluation, comparison = own.evaluation, own.comparison
    of_all = "" if own.num_train == own.num_available else f" of {own.num_available}"
    return (
        task,
        evaluation.main_metric,
        own.name,
        f"{evaluation.score:.4f}",
        _interval(evaluation, evaluation.main_metric),
        f"{comparison.improvement:+.4f}",
        f"{comparison.interval.low:+.4f} – {comparison.interval.high:+.4f}",
        f"{own.num_train}{of_all} examples",
    )


def _interval(evaluation: Any, metric: str) -> str:
    interval = evaluation.intervals.get(metric)
    return f"{interval.low:.4f} – {interval.high:.4f}" if interval else ""
