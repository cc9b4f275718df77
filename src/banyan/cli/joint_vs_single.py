"""What `banyan evaluate RECIPE --joint-vs-single` says: what each task gains or loses among the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.core.errors import ConfigError
from banyan.core.files import atomic_write_bytes, atomic_write_json, atomic_write_text
from banyan.core.paths import runs_directory
from banyan.workflows.joint_vs_single import HelpKind, TwinQuestion, joint_vs_single
from banyan.workflows.recipe import read_recipe
from banyan.workflows.twin_report import (
    HELP_NOTE,
    by_gain,
    draw_transfer,
    help_table,
    summary_lines,
    transfer_row,
    transfer_table,
)
from banyan.workflows.twin_results import Help, JointVsSingle, TaskTransfer

JOINT_VS_SINGLE = "--joint-vs-single"
app = typer.Typer(add_completion=False)
_INTERRUPTED = 130


@app.command(name="evaluate")
def joint_vs_single_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe of several tasks")],
    joint: Annotated[bool, typer.Option(JOINT_VS_SINGLE, help="This way to evaluate.")] = True,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the recipe; may be given again.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task gets a twin; may be given again.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each kind.")] = 3,
    helps: Annotated[
        str | None, typer.Option(help="Also which task helps which: leave-out each one, or teach pairs alone.")
    ] = None,
    time_limit: Annotated[float, typer.Option(min=0, help="Begin no run after so many seconds.")] = 1e9,
    max_examples: Annotated[int, typer.Option(min=1, help="At most so many of each test split.")] = 100_000,
    output: Annotated[
        Path | None,
        typer.Option("--output", "--out", "-o", help="Where the runs are kept; those done are not repeated."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Does a task lose or gain by being taught together with the others?

    Trains the recipe, and each of its tasks alone: the same size, as many rows of the task, the same schedule, the
    best of three learning rates. Goes on where it was stopped.
    Example: banyan evaluate recipes/joint.yaml --joint-vs-single --set minutes=10
    """
    settled = read_recipe(recipe, overrides=changes or ())
    folder = output or runs_directory() / f"{settled.name}-joint-vs-single"
    question = TwinQuestion(tasks=tuple(task or ()), num_seeds=seeds, helps=_helps(helps), max_examples=max_examples)
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        found = joint_vs_single(settled, folder, question, seconds=time_limit, reporter=reporter)
    _write(folder, found)
    emit(_plain(found), as_json=as_json, quiet=quiet, text=lambda: _tell(found, folder))
    return _INTERRUPTED if found.is_interrupted else 0


def _helps(asked: str | None) -> HelpKind | None:
    match asked:
        case None | "leave-out" | "pairs":
            return asked
        case _:
            raise ConfigError(f"--helps={asked} is not known; use leave-out or pairs.")


def _write(folder: Path, found: JointVsSingle) -> None:
    lines = ["# Joint against alone", "", *summary_lines(found), "", *transfer_table(found)]
    if found.helps:
        lines += ["", *help_table(found.helps)]
    if found.tasks:
        lines += ["", "![gains](gains.png)"]
        atomic_write_bytes(folder / "gains.png", draw_transfer(found))
    atomic_write_text(folder / "report.md", "\n".join(lines) + "\n")
    atomic_write_json(folder / "report.json", _plain(found))


def _plain(found: JointVsSingle) -> dict[str, Any]:
    return {
        "tasks": {own.task: _plain_task(own) for own in by_gain(found)},
        "mean_gain": found.mean,
        "worst": None if found.worst is None else found.worst.task,
        "helps": [_plain_help(own) for own in found.helps],
        "missing": list(found.missing),
        "runs": {"done": found.num_done, "planned": found.num_planned},
    }


def _plain_task(own: TaskTransfer) -> dict[str, Any]:
    interval = own.comparison.interval
    return {
        "metric": own.metric,
        "num_examples": own.num_examples,
        "joint": [score.score for score in own.joint.scores],
        "alone": [score.score for score in own.single.scores],
        "rates": [own.joint.rate, own.single.rate],
        "gain": own.comparison.improvement,
        "interval": [interval.low, interval.high],
        "p": own.comparison.p_value,
        "p_holm": own.corrected_p,
        "verdict": own.verdict,
    }


def _plain_help(own: Help) -> dict[str, Any]:
    interval = own.comparison.interval
    change = {"change": own.comparison.improvement, "interval": [interval.low, interval.high]}
    return {"helper": own.helper, "helped": own.helped, **change}


def _tell(found: JointVsSingle, folder: Path) -> None:
    if found.tasks:
        columns = ("task", "metric", "examples", "joint", "alone", "gain", "95 % interval", "p (Holm)", "verdict")
        print_table(columns, [transfer_row(own) for own in by_gain(found)])
    for line in summary_lines(found):
        say(line)
    if found.helps:
        changes = [(own.helper, own.helped, f"{100 * own.comparison.improvement:+.1f}") for own in found.helps]
        print_table(("helper", "helped", "points"), changes)
        say(HELP_NOTE)
    say(f"everything: {folder / 'report.md'}; the same command goes on with what has not been run")
