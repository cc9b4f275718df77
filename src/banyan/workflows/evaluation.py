"""`banyan evaluate`: a model directory → scores on its own test split, or on a user's file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from banyan import __version__
from banyan.core.config import read_config
from banyan.core.errors import ConfigError, DataError, FileError
from banyan.core.ids import new_ulid
from banyan.core.model_directory import name_of
from banyan.core.paths import default_database_url
from banyan.core.types import Row
from banyan.data.sources import read_rows
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.store.sql_store import open_store
from banyan.store.types import StoredEvaluation
from banyan.tasks.base import Task
from banyan.tasks.evaluate import TaskEvaluation
from banyan.tasks.image_generation import ImageGeneration
from banyan.tasks.reading import read_examples
from banyan.workflows.datasets import SPLITS, load_splits, spread
from banyan.workflows.judge import Judge, train_judge
from banyan.workflows.pictures import with_codes
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.saved_predictions import write_predictions
from banyan.workflows.scoring import TaskResult, evaluate_model
from banyan.workflows.sidecars import RECIPE_FILE

Systems: TypeAlias = Literal["none", "fast", "all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """Which simple systems a model is scored beside."""

    systems: Systems = "none"
    max_train: int = 20_000  # training examples each of them learns from, at most


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRun:
    """What a model scored, and where its predictions were written."""

    model: Path
    split: str
    results: dict[str, TaskResult]
    predictions_file: Path | None

    @property
    def evaluations(self) -> dict[str, TaskEvaluation]:
        """What the model itself scored, by task."""
        return {name: result.evaluation for name, result in self.results.items()}


def evaluate(
    directory: Path,
    *,
    tasks: Sequence[str],
    data: Sequence[str],
    split: str,
    max_examples: int,
    save_predictions: Path | None,
    database: str | None,
    base: Path | None = None,
    beside: Beside | None = None,
    reporter: Reporter,
) -> EvaluationRun:
    """Score a model, and the simple systems it is to stand beside, and record the model's scores in the database.

    `data` holds `task=file` pairs; where there are any and no tasks are named, those tasks are scored. A task without
    one is scored on a split of the data it was trained with; where no tasks are named, those whose data the model's own
    recipe does not say (what it has from a parent) are left out. `base` is where an adapter's model lies, if it moved.
    Raises: UnknownNameError for a task the model lacks; ConfigError, FileError, DataError if there is no data.
    """
    if split not in SPLITS:
        raise ConfigError(f"--split={split} is not known; use one of {', '.join(SPLITS)}.")
    files = task_files(data, tasks=tasks)
    reporter.stage("load")
    with load(directory, base=base) as model:
        sources = DataSources(model, files, split=split)
        chosen = tuple(tasks) or tuple(files) or _with_data(sources, tuple(model.tasks), reporter=reporter)
        examples = {name: sources.examples(model.task(name), limit=max_examples) for name in chosen}
        if not any(examples.values()):
            raise DataError(
                f"{directory}: no task has {split} examples to score on.", hint="name a file: --data task=file"
            )
        if without := [name for name, found in examples.items() if not found]:
            reporter.line(f"not scored, for there are no {split} examples: {', '.join(without)}")
        reporter.stage("score")
        judges = {name: sources.judge(model.task(name)) for name in chosen}
        results = evaluate_model(model, examples, judges=judges, reporter=reporter)
        _record(model, results, files=files, split=split, database=database or default_database_url())
        if beside is not None and beside.systems != "none":
            results = _with_baselines(model, results, beside, sources=sources, judges=judges, reporter=reporter)
    if save_predictions is not None:
        write_predictions(save_predictions, results)
    return EvaluationRun(
        model=directory,
        split=split,
        results=results,
        predictions_file=save_predictions,
    )


def _with_baselines(
    model: LoadedModel,
    results: dict[str, TaskResult],
    beside: Beside,
    *,
    sources: DataSources,
    judges: Mapping[str, Judge | None],
    reporter: Reporter,
) -> dict[str, TaskResult]:
    # The simple systems need libraries that take a second to import.
    from banyan.workflows.comparing import add_baselines

    reporter.stage("simple baselines")
    train = {name: sources.training_examples(result.task, reporter=reporter) for name, result in results.items()}
    return add_baselines(
        results,
        train,
        judges=judges,
        image_tokenizer=model.image_tokenizer,
        reporter=reporter,
        max_train=beside.max_train,
        with_slow=beside.systems == "all",
    )


def _with_data(sources: DataSources, names: tuple[str, ...], *, reporter: Reporter) -> tuple[str, ...]:
    """Return the tasks whose data is known, or all of them where none is, and say which are left out."""
    known = sources.known_among(names)
    if others := [name for name in names if name not in known]:
        reporter.line(
            f"not scored, for the model does not say what data they have: {', '.join(others)} (--data task=file)"
        )
    return known


def task_files(data: Sequence[str], *, tasks: Sequence[str]) -> dict[str, str]:
    """Read `task=file` pairs.

    Raises: ConfigError for one of another form, or for a task that is not among those that were named.
    """
    pairs: dict[str, str] = {}
    for item in data:
        name, equals, place = item.partition("=")
        if not equals or not name or not place:
            raise ConfigError(f"--data {item!r} is not of the form task=file; for example classification=reviews.csv.")
        pairs[name] = place
    if tasks and (unused := [name for name in pairs if name not in tasks]):
        raise ConfigError(f"--data {unused[0]}={pairs[unused[0]]} is for a task that --task leaves out.")
    return pairs


class DataSources:
    """Finds the rows of each task: in the file the user named, or where a recipe says, the model's own by default."""

    def __init__(self, model: LoadedModel, files: dict[str, str], *, split: str, recipe: Recipe | None = None) -> None:
        self._files = files
        self._image_tokenizer = model.image_tokenizer
        self._split = split
        own = model.directory / RECIPE_FILE
        self._recipe = recipe or (read_config(Recipe, own) if own.is_file() else None)

    def examples(self, task: Task[Any], *, limit: int) -> list[Any]:
        """Return the examples to score a task on, made as those of the training run are.

        Raises: DataError naming the file and the first row that cannot be read.
        """
        rows = spread(self._rows(task, self._split), limit)
        examples = self._read(task, rows)
        if len(examples) > limit:  # whole rows: every second example of two directions would all be of one
            examples = self._read(task, spread(rows, max(1, limit * len(rows) // len(examples))))
        return with_codes(task, spread(examples, limit), self._image_tokenizer)

    def _read(self, task: Task[Any], rows: Sequence[Row]) -> Sequence[Any]:
        try:
            return read_examples(task, rows, max_bad_fraction=0.0).examples
        except DataError as error:
            place = self._files.get(task.name, f"{self._split} data")
            raise DataError(f"{place}: {error.message}", hint=error.hint) from error

    def training_examples(self, task: Task[Any], *, reporter: Reporter) -> list[Any]:
        """Return what simple systems learn a task from: its training examples, or none where they cannot be had."""
        try:
            found = read_examples(task, self._own_rows(task, "train"))
        except (DataError, FileError) as error:
            reporter.line(f"task {task.name} stands beside no simple system: {error.message}")
            return []
        return with_codes(task, found.examples, self._image_tokenizer)

    def knows(self, name: str) -> bool:
        """Return whether a task's data is said by the user or by the recipe."""
        own = self._recipe.tasks if self._recipe is not None else ()
        return name in self._files or any(task.name == name for task in own)

    def known_among(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return those tasks whose data is known, or all of them where none is: an inherited task may have no data."""
        return tuple(name for name in names if self.knows(name)) or tuple(names)

    def judge(self, task: Task[Any]) -> Judge | None:
        """Return a classifier of real pictures for a task that draws."""
        if not isinstance(task, ImageGeneration) or self._recipe is None:
            return None
        return train_judge([task.parse(row) for row in self._own_rows(task, "train")])

    def _rows(self, task: Task[Any], split: str) -> Sequence[Row]:
        if task.name in self._files:
            return list(read_rows(self._files[task.name]))
        return self._own_rows(task, split)

    def _own_rows(self, task: Task[Any], split: str) -> Sequence[Row]:
        config = next((t for t in self._recipe.tasks if t.name == task.name), None) if self._recipe else None
        if config is None or self._recipe is None:
            raise FileError(
                f"the model does not say what task {task.name} was trained on.", hint=f"--data {task.name}=file"
            )
        return load_splits(config, seed=self._recipe.seed).named(split)


def _record(
    model: LoadedModel, results: dict[str, TaskResult], *, files: Mapping[str, str], split: str, database: str
) -> None:
    store = open_store(database)
    try:
        written = [
            store.runs.record_evaluation(evaluation)
            for result in results.values()
            for evaluation in _stored(model, result, file=files.get(result.task.name), split=split)
        ]
        for future in written:
            future.result()
    finally:
        store.close()


def _stored(model: LoadedModel, result: TaskResult, *, file: str | None, split: str) -> list[StoredEvaluation]:
    evaluation = result.evaluation
    intervals = evaluation.intervals
    base = StoredEvaluation(
        model_name=name_of(model.directory),
        model_sha256=model.sha256,
        dataset=file or model.description.dataset_fingerprint or "",
        metric="",
        value=0.0,
        task=result.task.name,
        split="" if file else split,
        num_examples=evaluation.num_examples,
        code_version=__version__,
    )
    return [
        dataclasses.replace(
            base,
            metric=name,
            value=value,
            ci_low=intervals[name].low if name in intervals else None,
            ci_high=intervals[name].high if name in intervals else None,
            evaluation_id=new_ulid(),
        )
        for name, value in evaluation.scores.items()
    ]
