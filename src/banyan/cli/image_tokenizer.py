"""What `banyan train` does with the recipe of a picture tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from banyan.cli.output import console, emit, say
from banyan.cli.progress import TerminalReporter
from banyan.cli.run_ending import run_exit_code, run_summary
from banyan.workflows.picture_tokenizer.recipe import read_picture_recipe
from banyan.workflows.picture_tokenizer.training import PictureTokenizerOutcome, train_picture_tokenizer
from banyan.workflows.run_records import RunRecorder


def train_image_tokenizer(
    recipe: Path,
    overrides: Sequence[str],
    *,
    resume: bool,
    accept_data_change: bool,
    database: str | None,
    resume_command: str,
    as_json: bool,
    quiet: bool,
) -> int:
    """Train a picture tokenizer, say how it went, and return the exit code."""
    settled = read_picture_recipe(recipe, overrides=overrides)
    with (
        RunRecorder(settled, database=database) as recorder,
        TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter,
    ):
        outcome = train_picture_tokenizer(
            settled,
            reporter=reporter,
            resume=resume,
            callbacks=[recorder],
            accept_data_change=accept_data_change,
        )
    said = {**run_summary(outcome), "skipped_pictures": outcome.material.skipped}
    emit(said, as_json=as_json, quiet=quiet, text=lambda: _tell(outcome, resume_command=resume_command))
    return run_exit_code(outcome)


def _tell(outcome: PictureTokenizerOutcome, *, resume_command: str) -> None:
    """Say how the run ended and what to do with the tokenizer."""
    result, run = outcome.result, outcome.run_directory
    if result.stopped_by == "interrupt":
        say(f"saved step {result.steps}; go on with: {resume_command}")
        return
    score = "" if result.best_score is None else f", {result.best_score:.2f} dB"
    say(f"{result.steps} steps in {result.seconds:.0f} s; best: step {result.best_step}{score}")
    for split, num in outcome.material.skipped.items():
        say(f"data.{split}: {num} pictures could not be read and were left out")
    say(f"reconstructions: {run}/samples")
    say(f"next: name it in the recipe of a model that draws, as image_tokenizer.path: {run}/best")
