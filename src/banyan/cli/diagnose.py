"""`banyan diagnose RUN`: what is wrong with a training run, since when, why, and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, emit, print_table, say
from banyan.core.errors import SpaceError
from banyan.workflows.diagnosis import Diagnosis, diagnose, find_run, tell_episode
from banyan.workflows.diagnosis_patch import overrides, write_patch
from banyan.workflows.diagnosis_plot import draw_diagnosis
from banyan.workflows.diagnosis_samples import Sample, samples_of

app = typer.Typer(add_completion=False)

_TOLD_EPISODES, _TOLD_SAMPLES = 5, 8


@app.command(name="diagnose")
def diagnose_command(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say in plain words what happened in a run; it may be over, broken off, or still going on.

    Example: banyan diagnose demo
    """
    diagnosis = diagnose(find_run(run))
    samples, problem = _samples(diagnosis)
    files = _write_files(diagnosis)
    emit(
        summary(diagnosis, samples, problem, files),
        as_json=as_json,
        quiet=quiet,
        text=lambda: tell(diagnosis, samples, problem, files),
    )


def _samples(diagnosis: Diagnosis) -> tuple[list[Sample], str | None]:
    """Draw the samples of the gravest episode that names any."""
    episode = next((episode for episode in diagnosis.episodes if episode.rows), None)
    if episode is None or diagnosis.recipe is None:
        return [], None
    return samples_of(diagnosis.run_directory, diagnosis.recipe, rows=episode.rows, place=episode.data)


def _write_files(diagnosis: Diagnosis) -> list[Path]:
    """Write the plot and the changed recipe beside the run, where one may write."""
    files: list[Path] = []
    if not diagnosis.episodes:
        return files
    with suppress(SpaceError):
        files.append(draw_diagnosis(diagnosis))
        if diagnosis.changes and diagnosis.recipe is not None:
            files.append(write_patch(diagnosis.run_directory, diagnosis.recipe, diagnosis.changes))
    return files


def summary(
    diagnosis: Diagnosis, samples: Sequence[Sample], problem: str | None, files: Sequence[Path]
) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "run": str(diagnosis.run_directory),
        "state": diagnosis.state,
        "step": diagnosis.step,
        "is_healthy": not diagnosis.episodes,
        "summary": diagnosis.summary,
        "episodes": diagnosis.episodes,
        "remarks": diagnosis.remarks,
        "samples": samples,
        "samples_problem": problem,
        "changes": diagnosis.changes,
        "files": files,
    }


def tell(diagnosis: Diagnosis, samples: Sequence[Sample], problem: str | None, files: Sequence[Path]) -> None:
    """Say it to a person."""
    say(diagnosis.summary)
    for remark in diagnosis.remarks:
        say(f"- {remark}")
    for episode in diagnosis.episodes[:_TOLD_EPISODES]:
        say()
        for line in tell_episode(episode):
            say(line)
    if len(diagnosis.episodes) > _TOLD_EPISODES:
        say(f"\n… and {len(diagnosis.episodes) - _TOLD_EPISODES} more: --json shows all")
    if samples:
        say()
        rows = [(", ".join(sample.tasks), sample.text or sample.sha256) for sample in samples[:_TOLD_SAMPLES]]
        print_table(("task", "in the batch"), rows)
    if problem:
        say(problem)
    if diagnosis.changes:
        say(f"\nto change: {' '.join(overrides(diagnosis.changes))}")
    for path in files:
        say(f"written: {path}")
