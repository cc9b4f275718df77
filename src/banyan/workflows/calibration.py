"""`banyan evaluate --calibrate`: a temperature for each classifier, fitted on held-out examples, kept in the model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError, DataError, FileError
from banyan.core.locks import hold_directory
from banyan.core.model_directory import BANYAN_FILE, new_model_directory, verify_manifest
from banyan.core.types import Prediction
from banyan.runtime.description import ModelDescription, read_description, write_description
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.tasks.intervals import confidence_intervals
from banyan.tasks.metrics.calibration import fit_temperature, measure_calibration, tempered
from banyan.tasks.metrics.measurement import Measurement, Scores
from banyan.workflows.evaluation import DataSources, task_files
from banyan.workflows.reporter import Reporter

FITTED_ON = "validation"
_CHECKPOINTS = "checkpoints"  # the folder of a run that holds its models


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskCalibration:
    """What the temperature of one classifier changes, on examples it was not fitted on where there are any."""

    temperature: float
    num_fitted: int  # examples it was fitted on
    measured_on: str  # split
    num_measured: int
    before: Scores  # without any temperature
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
    """Fit a temperature for every classifier on its validation examples and write them into banyan.json.

    `data` holds `task=file` pairs to fit on in their place; `split` is what the errors are measured on. A model is
    replaced in one step, with a new manifest; its weights and the labels it answers stay.
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
    save_temperatures(directory, {name: own.temperature for name, own in found.items()})
    return found


def save_temperatures(directory: Path, temperatures: Mapping[str, float]) -> None:
    """Write temperatures into a model directory, beside those it has; all of it is replaced in one step.

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
            write_description(temporary, replace(description, temperatures=merged))


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
    probs = _probs(task, model.answer(task.name, fitted))
    temperature = fit_temperature(probs, [task.labels.index(example.label or "") for example in fitted])
    measured = _examples_if_any(to_measure, task, limit=limit)
    if measured:
        probs = _probs(task, model.answer(task.name, measured))
    examples = measured or fitted
    before = _errors(task, examples, probs)
    after = _errors(task, examples, [tempered(row, temperature) for row in probs])
    return TaskCalibration(
        temperature=temperature,
        num_fitted=len(fitted),
        measured_on=split if measured else FITTED_ON,
        num_measured=len(examples),
        before=before.scores(),
        after=after.scores(),
        intervals_before=_intervals(before),
        intervals_after=_intervals(after),
    )


def _intervals(errors: Measurement) -> dict[str, tuple[float, float]]:
    return {name: (interval.low, interval.high) for name, interval in confidence_intervals(errors).items()}


def _probs(task: Classification, predictions: Sequence[Prediction]) -> list[tuple[float, ...]]:
    """Return the probabilities in the order of the task's labels."""
    return [tuple((prediction.labels or {})[label] for label in task.labels) for prediction in predictions]


def _errors(
    task: Classification, examples: Sequence[ClassificationExample], probs: Sequence[tuple[float, ...]]
) -> Measurement:
    best = [max(row) for row in probs]
    is_right = [
        task.labels[row.index(top)] == example.label for example, row, top in zip(examples, probs, best, strict=True)
    ]
    return measure_calibration(best, is_right)


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
