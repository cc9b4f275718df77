"""`banyan evaluate MODEL`: score a model on its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.probe import run_probe
from banyan.cli.progress import TerminalReporter
from banyan.cli.sampling import SeedOption, TemperatureOption
from banyan.cli.text_comparison import (
    CompareOption,
    ComparisonQuestion,
    GeneratedOption,
    NumOption,
    PromptTokensOption,
    SampleTokensOption,
    run_comparison,
)
from banyan.core.errors import ConfigError
from banyan.workflows.evaluation import EvaluationRun, evaluate

app = typer.Typer(add_completion=False)


@app.command(name="evaluate")
def evaluate_command(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be given again.")] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="task=file: score on this file instead of the test split.")
    ] = None,
    split: Annotated[
        str, typer.Option(help="test, validation or train, as the model's own recipe names them.")
    ] = "test",
    max_examples: Annotated[int, typer.Option(min=1, help="At most so many of each task.")] = 500,
    save_predictions: Annotated[Path | None, typer.Option(help="Write every prediction there, as JSON lines.")] = None,
    database: Annotated[str | None, typer.Option(help="Database URL; the scores are recorded there.")] = None,
    base: BaseOption = None,
    compare: CompareOption = None,
    generated: GeneratedOption = None,
    prompt_tokens: PromptTokensOption = 32,
    sample_tokens: SampleTokensOption = 128,
    num: NumOption = 100,
    probe: Annotated[
        str | None, typer.Option(help="Which layer holds a task: a task, a catalog name, or a file of text and label.")
    ] = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", help="--compare, --probe: a folder for scores and plot.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score a model with the official metric of each task, with 95 % intervals.

    Example: banyan evaluate runs/demo/best --task classification

    With --compare: what the model writes beside real text, score by score. With --probe: which layer holds a task.
    """
    check_way(compare, probe, generated=generated, output=output)
    if probe is not None:
        run_probe(model, probe, max_examples=max_examples, seed=seed or 0, output=output, as_json=as_json, quiet=quiet)
        return
    if compare is not None:
        asked = ComparisonQuestion(
            real=compare,
            generated=generated,
            prompt_tokens=prompt_tokens,
            sample_tokens=sample_tokens,
            max_samples=num,
            temperature=temperature,
            seed=seed,
        )
        run_comparison(model, asked, base=base, output=output, as_json=as_json, quiet=quiet)
        return
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        run = evaluate(
            model,
            tasks=tuple(task or ()),
            data=tuple(data or ()),
            split=split,
            max_examples=max_examples,
            save_predictions=save_predictions,
            database=database,
            base=base,
            reporter=reporter,
        )
    emit(summary(run), as_json=as_json, quiet=quiet, text=lambda: tell(run))


def check_way(compare: Path | None, probe: str | None, *, generated: Path | None, output: Path | None) -> None:
    """Refuse options that do not go together.

    Raises: ConfigError saying what they belong to.
    """
    if compare is not None and probe is not None:
        raise ConfigError("--compare and --probe are two ways to evaluate; give one of them.")
    if generated is not None and compare is None:
        raise ConfigError("--generated belongs to --compare.", hint="banyan evaluate MODEL --compare real.txt")
    if output is not None and compare is None and probe is None:
        raise ConfigError("--output belongs to --compare or --probe.", hint="banyan evaluate --help")


def summary(run: EvaluationRun) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "model": str(run.model),
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
