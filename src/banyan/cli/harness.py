"""What `banyan evaluate --harness` says: the scores of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.scoring import MaxExamplesOption
from banyan.workflows.harness import HarnessRun, HarnessScore, run_harness

HARNESS = "--harness"

app = typer.Typer(add_completion=False)


@app.command(name="evaluate")
def harness_command(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    task: Annotated[
        str, typer.Option(HARNESS, help="A task: its YAML file (run only what you trust), a folder, or a name.")
    ],
    max_examples: MaxExamplesOption = 500,
    base: BaseOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "--out", "-o", help="A folder for all that the harness says.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask a model a task of lm-evaluation-harness (pip install "banyan-gpt[lm-eval]").

    Example: banyan evaluate runs/demo/best --harness my_task.yaml
    """
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        found = run_harness(model, task, max_examples=max_examples, base=base, output=output, reporter=reporter)
    emit(found, as_json=as_json, quiet=quiet, text=lambda: _tell(found))


def _tell(found: HarnessRun) -> None:
    columns = ("task", "version", "metric", "score", "standard error", "examples")
    print_table(columns, [_row(score) for score in found.scores])
    say(f"scored by lm-evaluation-harness {found.harness_version}")
    if found.results_file is not None:
        say(f"everything it said: {found.results_file}")


def _row(score: HarnessScore) -> tuple[object, ...]:
    error = None if score.standard_error is None else f"{score.standard_error:.4f}"
    return score.task, score.task_version, score.metric, f"{score.value:.4f}", error, score.num_examples
