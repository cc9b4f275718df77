"""`banyan init`: somebody's own files → a recipe that runs as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from banyan.core.config import read_config
from banyan.core.errors import ConfigError
from banyan.core.files import atomic_write_text
from banyan.data.grouping import SourceGroup, group_paths
from banyan.data.recognise import SourceReport, describe_source
from banyan.data.sources import PIECE_CHARACTERS
from banyan.workflows.recipe import Recipe
from banyan.workflows.recipe_text import FoundTask, recipe_text
from banyan.workflows.sizes import RecipeSizes, suggest_sizes

HELD_OUT = 0.1  # share of the rows for validation, and for the test
FEW_TEXTS = 20  # fewer long texts are cut into pieces before some are held out
_MIN_ROWS = 3  # one to learn from, one for validation, one for the test
_NOT_IN_NAMES = re.compile(r"[^\w-]+")
_PLAIN_NAMES = {"", "train", "training", "data", "dataset"}


@dataclass(frozen=True, kw_only=True, slots=True)
class InitReport:
    """What was found in the files, and the recipe that was written."""

    recipe: Path
    name: str
    tasks: tuple[FoundTask, ...]
    sizes: RecipeSizes

    @property
    def next_command(self) -> str:
        """What to type next."""
        return f"banyan train {self.recipe}"


def write_recipe(
    paths: Sequence[Path], *, output: Path, name: str | None = None, overwrite: bool = False
) -> InitReport:
    """Look at files and folders and write a recipe that learns all of them.

    `name` is the run's; None: after the recipe's file.
    Raises: FileError or DataError, in one line, for a file that cannot be read or learned from; ConfigError if the
        recipe exists already; SpaceError if it cannot be written.
    """
    if not paths:
        raise ConfigError("no files are named; there is nothing to look at.", hint="banyan init FILES…")
    if output.exists() and not overwrite:
        raise ConfigError(
            f"{output} exists already and would be overwritten.", hint="name another with --output, or add --overwrite"
        )
    tasks = find_tasks(paths)
    sizes = suggest_sizes([task.report for task in tasks])
    name = name or _run_name(output, tasks)
    atomic_write_text(output, recipe_text(name, tasks, sizes, output=output))
    read_config(Recipe, output)  # what we write, we can read
    return InitReport(recipe=output, name=name, tasks=tasks, sizes=sizes)


def find_tasks(paths: Sequence[Path]) -> tuple[FoundTask, ...]:
    """Look at files and folders and return the task that each data set among them makes."""
    tasks: list[FoundTask] = []
    for group in group_paths(paths):
        report = describe_source(group.train)
        name = _new_name(group, report, taken=[task.name for task in tasks])
        tasks.append(_as_task(name, group, report))
    return tuple(tasks)


def _run_name(output: Path, tasks: Sequence[FoundTask]) -> str:
    own = clean_name(output.stem)
    return own if own and own.lower() != "recipe" else tasks[0].name


def _as_task(name: str, group: SourceGroup, report: SourceReport) -> FoundTask:
    is_complete = group.validation is not None and group.test is not None
    needs_cutting = report.kind == "language_modeling" and report.num_rows < FEW_TEXTS and not is_complete
    if needs_cutting and "text" not in report.columns:
        pieces = max(report.num_rows, report.num_characters // PIECE_CHARACTERS)
        return FoundTask(
            name=name,
            group=group,
            report=report,
            format="text_pieces",
            held_out=HELD_OUT if pieces >= _MIN_ROWS else 0.0,
        )
    held_out = HELD_OUT if report.num_rows >= _MIN_ROWS and not is_complete else 0.0
    return FoundTask(name=name, group=group, report=report, held_out=held_out)


def _new_name(group: SourceGroup, report: SourceReport, *, taken: Sequence[str]) -> str:
    """Return a name for a task after its file, its folder or its kind, that no other task has."""
    own = _plain_stem(group.train)
    folder = _plain_stem(group.train.absolute().parent)
    wanted = next((name for name in (own, folder) if name not in _PLAIN_NAMES), report.kind)
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _plain_stem(path: Path) -> str:
    """Return a file's name without endings, languages in braces and the name of its split."""
    stem = path.name.split("{")[0].split(".")[0]
    words = [word for word in clean_name(stem).split("_") if word.lower() not in _PLAIN_NAMES]
    return "_".join(words)


def clean_name(text: str) -> str:
    """Return a text as a name: letters, digits, - and _."""
    return _NOT_IN_NAMES.sub("_", text).strip("_-")
