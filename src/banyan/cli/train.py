"""`banyan train RECIPE`: pretrain, fine-tune, joint training; the recipe says which."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.image_tokenizer import train_image_tokenizer
from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.picture_scores import run_judge_training
from banyan.cli.progress import TerminalReporter
from banyan.cli.run_ending import run_exit_code, run_summary
from banyan.core.errors import ConfigError, PeerLostError
from banyan.core.process import process_place
from banyan.workflows.checking_run import Check, check_run, exit_code_of
from banyan.workflows.finishing import Finish, finish_run
from banyan.workflows.picture_judging import is_judge_recipe
from banyan.workflows.picture_tokenizer.recipe import is_picture_tokenizer
from banyan.workflows.recipe import Recipe, read_recipe
from banyan.workflows.reporter import Reporter, SilentReporter
from banyan.workflows.run_records import RunRecorder
from banyan.workflows.training import TrainingOutcome, train

app = typer.Typer(add_completion=False)

INTERRUPTED = 130  # exit code


@app.command(name="train")
def train_command(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe; `banyan init FILES…` writes one.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, for example train.steps=500")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was stopped.")] = False,
    accept_data_change: Annotated[
        bool, typer.Option("--accept-data-change", help="With --resume: go on although the data is not as it was.")
    ] = False,
    database: Annotated[str | None, typer.Option(help="Database URL; the run is recorded there.")] = None,
    nproc: Annotated[int | None, typer.Option(min=1, help="Processes on this machine that share the work.")] = None,
    max_restarts: Annotated[int, typer.Option(min=0, help="With --nproc: starts after a lost process.")] = 3,
    check: Annotated[bool, typer.Option("--check", help="Only try, in a minute, what a long run depends on.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Run a recipe; Ctrl-C saves within seconds and says how to go on.

    Example: banyan train recipe.yaml train.steps=500 model.preset=banyan-micro
    """
    words = train_words(recipe, overrides or [], database=database)
    if is_picture_tokenizer(recipe):
        if check or nproc is not None:
            raise ConfigError(
                "--check and --nproc are for recipes with tasks; a picture tokenizer is trained by one process.",
                hint="leave them out",
            )
        return train_image_tokenizer(
            recipe,
            overrides or [],
            resume=resume,
            accept_data_change=accept_data_change,
            database=database,
            resume_command=resume_command(words, num_processes=1),
            as_json=as_json,
            quiet=quiet,
        )
    if is_judge_recipe(recipe):
        return run_judge_training(recipe, overrides or [], as_json=as_json, quiet=quiet)
    settled = read_recipe(recipe, overrides=overrides or [])
    if check:
        return check_recipe(settled, as_json=as_json, quiet=quiet)
    if nproc is not None:
        settled.parallel.sizes(nproc)  # before any process is started
        asked = {"--resume": resume, "--accept-data-change": accept_data_change, "--json": as_json, "--quiet": quiet}
        flags = [flag for flag, is_set in asked.items() if is_set]
        # Only here, for torchrun's agent takes half a second to import.
        from banyan.workflows.launching import launch_training

        with TerminalReporter(console(quiet=quiet)) as reporter:
            return launch_training([*words, *flags], num_processes=nproc, max_restarts=max_restarts, reporter=reporter)
    return _run(
        settled,
        words,
        resume=resume,
        accept_data_change=accept_data_change,
        database=database,
        as_json=as_json,
        quiet=quiet,
    )


def _run(
    settled: Recipe,
    words: Sequence[str],
    *,
    resume: bool,
    accept_data_change: bool,
    database: str | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a recipe in this process, say how it ended, and return the exit code."""
    if not process_place().is_main:  # only rank 0 speaks, and writes
        outcome = train(settled, reporter=SilentReporter(), resume=resume, accept_data_change=accept_data_change)
        return run_exit_code(outcome)
    with (
        told_by_the_launcher(),
        RunRecorder(settled, database=database) as recorder,
        TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter,
    ):
        outcome = train(
            settled,
            reporter=reporter,
            resume=resume,
            callbacks=[recorder],
            accept_data_change=accept_data_change,
        )
        finishes = finish_tasks(outcome, reporter=reporter)
    place = process_place()
    command = resume_command(words, num_processes=1 if place.launcher is None else place.world_size)
    said = {**run_summary(outcome), "skipped_rows": outcome.material.skipped, "finishes": finishes}
    emit(said, as_json=as_json, quiet=quiet, text=lambda: tell(outcome, finishes, command=command))
    return run_exit_code(outcome) if finishes is not None else INTERRUPTED


def finish_tasks(outcome: TrainingOutcome, *, reporter: Reporter) -> dict[str, Finish] | None:
    """Finish the tasks of a run that is over, in one process; None: that was interrupted."""
    if outcome.result.stopped_by == "interrupt" or outcome.recipe.finish is None:
        return {}
    if process_place().world_size > 1:
        reporter.line("the tasks are finished by one process: banyan train RECIPE --resume, without --nproc")
        return {}
    best = outcome.result.best_checkpoint
    return finish_run(outcome.recipe, outcome.run_directory, best=best, reporter=reporter)


def check_recipe(recipe: Recipe, *, as_json: bool, quiet: bool) -> int:
    """Try what the recipe's run depends on, say what was found, and return the exit code of what failed first."""
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        checks = check_run(recipe, reporter=reporter)
    emit({"checks": checks}, as_json=as_json, quiet=quiet, text=lambda: tell_checks(checks))
    return exit_code_of(checks)


def tell_checks(checks: Sequence[Check]) -> None:
    """Print the checks as a table, and a hint for each that is not well."""
    print_table(("check", "", "found"), [(check.name, check.state, check.found) for check in checks])
    for check in checks:
        if check.hint and check.state != "ok":
            say(f"{check.name}: {check.hint}")


@contextmanager
def told_by_the_launcher() -> Iterator[None]:
    """Leave it to a launcher of ours to say which process was lost: it knows, and starts all of them anew."""
    try:
        yield
    except PeerLostError as error:
        if process_place().launcher is None:
            raise
        raise typer.Exit(error.exit_code) from error


def train_words(recipe: Path, overrides: Sequence[str], *, database: str | None) -> list[str]:
    """Return what was typed after `banyan`, without its flags."""
    where = [] if database is None else ["--database", database]
    return ["train", str(recipe), *overrides, *where]


def resume_command(words: Sequence[str], *, num_processes: int) -> str:
    """Return what to type to go on with an interrupted run."""
    processes = ["--nproc", str(num_processes)] if num_processes > 1 else []
    return shlex.join(["banyan", *words, "--resume", *processes])


def tell(outcome: TrainingOutcome, finishes: Mapping[str, Finish] | None, *, command: str) -> None:
    """Say how the run ended and what to type next."""
    result, run = outcome.result, outcome.run_directory
    if result.stopped_by == "interrupt" or finishes is None:
        say(f"saved step {result.steps}; go on with: {command}")
        return
    score = "" if result.best_score is None else f", score {result.best_score:.4f}"
    say(f"{result.steps} steps in {result.seconds:.0f} s; best: step {result.best_step}{score}")
    for name, skipped in outcome.material.skipped.items():
        if skipped:
            say(f"{name}: {skipped} training rows were skipped (unreadable, without an answer, or too long)")
    if any(finish.is_kept for finish in finishes.values()):
        say(f"better with its finishes: {run}/finished")
    say(f"next: banyan evaluate {run}/best    banyan serve {run}/best    (curves: {run}/loss.png)")
