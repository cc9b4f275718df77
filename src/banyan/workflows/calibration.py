"""`banyan evaluate --calibrate`: what each classifier's logits are divided by, fitted on held-out examples.

A classifier whose head has a table of n-grams gets the table's part of the logits fitted before. Both are kept in the
model.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from banyan.core.errors import ConfigError, DataError, FileError
from banyan.core.locks import hold_directory
from banyan.core.model_directory import BANYAN_FILE, new_model_directory, verify_manifest
from banyan.core.types import Prediction
from banyan.model.heads import EQUAL_SHARES, HeadLayer
from banyan.runtime.description import ModelDescription, read_description, write_description
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.tasks.intervals import confidence_intervals
from banyan.tasks.metrics.calibration import fit_share, fit_temperature, measure_calibration, pooled, tempered
from banyan.tasks.metrics.measurement import Measurement, Scores
from banyan.workflows.evaluation import DataSources, task_files
from banyan.workflows.reporter import Reporter

FITTED_ON = "validation"
_CHECKPOINTS = "checkpoints"  # the folder of a run that holds its models
_Probs: TypeAlias = list[tuple[float, ...]]  # of each example's labels


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskCalibration:
    """What calibration changes of one classifier, on examples it was not fitted on where there are any."""

    temperature: float
    table_share: float | None  # of the logits, for the head's table of n-grams; None: it has none
    num_fitted: int  # examples they were fitted on
    measured_on: str  # split
    num_measured: int
    accuracy_before: float
    accuracy_after: float  # the same without a table: a temperature changes no label
    before: Scores  # without any temperature, the table's share being a half
    after: Scores
    intervals_before: dict[str, tuple[float, float]]  # 95 %, by score
    intervals_after: dict[str, tuple[float, float]]


def calibrate(
    directory: Path,
    *,
    tasks: Sequence[str],
    data: Sequence[str],
    split: str,
    max_examples: int,
    base: Path | None = None,
    reporter: Reporter,
) -> dict[str, TaskCalibration]:
    """Fit temperature and table's share for every classifier on its validation examples, and write them to banyan.json.

    `data` holds `task=file` pairs to fit on in their place; `split` is what the errors are measured on. A model is
    replaced in one step, with a new manifest; its weights stay, and so do the labels of heads without a table.
    Raises: ConfigError if there is nothing to calibrate; FileError or DataError if there are no examples to fit on;
    BusyError if the model is a checkpoint of a run that is going on.
    """
    reporter.stage("load")
    with load(directory, base=base) as loaded:
        if not (directory / BANYAN_FILE).is_file():
            raise ConfigError(f"{directory} has no {BANYAN_FILE}, in which temperatures are kept.")
        files = task_files(data, tasks=tasks)
        model = replace(loaded, description=replace(loaded.description, temperatures={}))
        to_fit = DataSources(model, files, split=FITTED_ON)
        chosen = _classifiers(loaded, tasks or tuple(files), known=to_fit)
        to_measure = DataSources(model, {}, split=split)
        reporter.stage("fit")
        found = {}
        for number, task in enumerate(chosen):
            found[task.name] = _calibrate_task(model, task, to_fit, to_measure, split=split, limit=max_examples)
            reporter.progress(number + 1, len(chosen), note=task.name)
    shares = {name: own.table_share for name, own in found.items() if own.table_share is not None}
    save_calibration(directory, {name: own.temperature for name, own in found.items()}, shares)
    return found


def save_calibration(
    directory: Path, temperatures: Mapping[str, float], table_shares: Mapping[str, float] | None = None
) -> None:
    """Write what was fitted into a model directory, beside what it has; all of it is replaced in one step.

    Raises: BusyError for a checkpoint of a run that is going on; CheckpointError if the directory is not whole;
    SpaceError if it cannot be written.
    """
    place = directory.resolve()  # best and last are links
    with _held(place):
        verify_manifest(place)
        description: ModelDescription = read_description(place)
        with new_model_directory(place) as temporary:
            shutil.copytree(place, temporary, dirs_exist_ok=True, copy_function=_link_or_copy)
            merged = {**description.temperatures, **temperatures}
            shares = {**description.table_shares, **(table_shares or {})}
            write_description(temporary, replace(description, temperatures=merged, table_shares=shares))


def _classifiers(model: LoadedModel, names: Sequence[str], *, known: DataSources) -> list[Classification]:
    tasks = [model.task(name) for name in names] or list(model.tasks.values())
    found = [task for task in tasks if isinstance(task, Classification)]
    if names and (other := next((task for task in tasks if not isinstance(task, Classification)), None)):
        raise ConfigError(f"task {other.name} is of kind {other.kind}; only classifiers can be calibrated.")
    if not found:
        raise ConfigError(f"{model.directory} has no task of kind classification to calibrate.")
    if names:
        return found
    with_data = known.known_among([task.name for task in found])
    return [task for task in found if task.name in with_data]


def _calibrate_task(
    model: LoadedModel, task: Classification, to_fit: DataSources, to_measure: DataSources, *, split: str, limit: int
) -> TaskCalibration:
    fitted: list[ClassificationExample] = to_fit.examples(task, limit=limit)
    if not fitted:
        raise DataError(
            f"task {task.name} has no {FITTED_ON} examples to fit a temperature on.",
            hint=f"name a file: --data {task.name}=file",
        )
    expected = [task.labels.index(example.label or "") for example in fitted]
    table = _table_of(model, task)
    opinions = _opinions(model, task, fitted, table=table)
    share = EQUAL_SHARES if table is None else fit_share(opinions[0], opinions[1], expected)
    temperature = fit_temperature(_pooled(opinions, share), expected)
    measured = _examples_if_any(to_measure, task, limit=limit)
    if measured:
        opinions = _opinions(model, task, measured, table=table)
    examples = measured or fitted
    before, accuracy_before = _errors(task, examples, _pooled(opinions, EQUAL_SHARES))
    after, accuracy_after = _errors(task, examples, [tempered(row, temperature) for row in _pooled(opinions, share)])
    return TaskCalibration(
        temperature=temperature,
        table_share=None if table is None else share,
        num_fitted=len(fitted),
        measured_on=split if measured else FITTED_ON,
        num_measured=len(examples),
        accuracy_before=accuracy_before,
        accuracy_after=accuracy_after,
        before=before.scores(),
        after=after.scores(),
        intervals_before=_intervals(before),
        intervals_after=_intervals(after),
    )


def _table_of(model: LoadedModel, task: Classification) -> HeadLayer | None:
    """Return the head that answers a task, if it has a table, and is not that of the model an adapter was made for."""
    heads = model.model.heads_under(model.engine.adapter_for(task.name))
    is_borrowed = model.adapter is not None and heads is model.model.heads
    return heads[task.name] if task.name in heads and heads.reads_tokens(task.name) and not is_borrowed else None


def _opinions(
    model: LoadedModel, task: Classification, examples: Sequence[ClassificationExample], *, table: HeadLayer | None
) -> list[_Probs]:
    """Return a classifier's probabilities; of one with a table, those of its linear layer and those of the table."""
    if table is None:
        return [_probs(task, model.answer(task.name, examples))]
    kept, found = table.table_share, []
    try:
        for share in (0.0, 1.0):
            table.table_share = share
            found.append(_probs(task, model.answer(task.name, examples)))
    finally:
        table.table_share = kept
    return found


def _pooled(opinions: Sequence[_Probs], share: float) -> _Probs:
    first, *others = opinions
    return pooled(first, others[0], share=share) if others else first


def _intervals(errors: Measurement) -> dict[str, tuple[float, float]]:
    return {name: (interval.low, interval.high) for name, interval in confidence_intervals(errors).items()}


def _probs(task: Classification, predictions: Sequence[Prediction]) -> _Probs:
    """Return the probabilities in the order of the task's labels."""
    return [tuple((prediction.labels or {})[label] for label in task.labels) for prediction in predictions]


def _errors(
    task: Classification, examples: Sequence[ClassificationExample], probs: _Probs
) -> tuple[Measurement, float]:
    """Measure how sure the probabilities are and how often right, and return the share of right labels with it."""
    best = [max(row) for row in probs]
    is_right = [
        task.labels[row.index(top)] == example.label for example, row, top in zip(examples, probs, best, strict=True)
    ]
    return measure_calibration(best, is_right), sum(is_right) / len(is_right)


def _examples_if_any(sources: DataSources, task: Classification, *, limit: int) -> list[Any]:
    try:
        return sources.examples(task, limit=limit)
    except FileError:  # a model without its recipe, or whose data has gone, is measured on what it was fitted on
        return []


@contextmanager
def _held(place: Path) -> Iterator[None]:
    """Keep a run from writing while one of its checkpoints is replaced."""
    if place.parent.name != _CHECKPOINTS:
        yield
        return
    with hold_directory(place.parent.parent):
        yield


def _link_or_copy(source: str, target: str) -> None:
    """Share a file with the directory that is replaced; copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
