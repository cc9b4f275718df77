"""`banyan demo`: the main job on data that every machine already has, from files to a report and a model to serve."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from banyan.core.config import config_from_mapping, read_mapping
from banyan.core.errors import FileError
from banyan.core.files import atomic_write_json, read_json
from banyan.core.paths import default_database_url, runs_directory
from banyan.runtime.loading import load
from banyan.workflows.answer_records import AnswerRecorder
from banyan.workflows.comparing import add_baselines
from banyan.workflows.datasets import spread
from banyan.workflows.demo_data.build import DemoData, build_demo_data, read_demo_data
from banyan.workflows.live_model import judges_of
from banyan.workflows.recipe import Recipe
from banyan.workflows.report import REPORT_JSON, make_report, report_as_json, write_report
from banyan.workflows.reporter import Reporter
from banyan.workflows.run_records import RunRecorder
from banyan.workflows.scoring import TaskResult, evaluate_model
from banyan.workflows.sidecars import RECIPE_FILE
from banyan.workflows.training import TrainingOutcome, train

STANDARD_MINUTES = 10.0
_QUICK_MINUTES = 1.5
# Of the whole budget: reading the library, installing, scoring and baselines take the rest. Measured on two cores.
_TRAINING_SHARE = 0.55
_QUICK_TRAINING_SHARE = 0.33
_STAGES_FILE = "stages.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoPlan:
    """What a demo run may take, and where it lies."""

    run_directory: Path
    training_minutes: float
    is_quick: bool = False
    seed: int = 0
    database: str = field(default_factory=default_database_url)

    @property
    def data_directory(self) -> Path:
        """Where the demo's data files lie."""
        return self.run_directory / "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoOutcome:
    """What the demo leaves behind; `report` is None if it was interrupted."""

    plan: DemoPlan
    report: dict[str, Any] | None  # the content of report.json
    num_steps: int  # done so far
    signal_number: int | None = None  # which signal interrupted it


def plan_demo(*, minutes: float | None = None, is_quick: bool = False, seed: int = 0, database: str = "") -> DemoPlan:
    """Return the plan for a budget; another budget or seed gets its own run directory, so that none undoes another."""
    usual = _QUICK_MINUTES if is_quick else STANDARD_MINUTES
    total = minutes or usual
    name = "demo-quick" if is_quick else "demo"
    if total != usual:
        name += f"-{total:g}min"
    if seed:
        name += f"-seed{seed}"
    share = _QUICK_TRAINING_SHARE if is_quick else max(_TRAINING_SHARE, 1 - 4.5 / total)
    return DemoPlan(
        run_directory=runs_directory() / name,
        training_minutes=total * share,
        is_quick=is_quick,
        seed=seed,
        database=database or default_database_url(),
    )


def run_demo(plan: DemoPlan, *, reporter: Reporter) -> DemoOutcome:
    """Grow the demo's model, or go on where it was interrupted; finished stages are reused.

    Raises: every error of data, disk and training, each with its own exit code.
    """
    if (plan.run_directory / REPORT_JSON).is_file():
        report = read_json(plan.run_directory / REPORT_JSON)
        return DemoOutcome(plan=plan, report=report, num_steps=report["steps"])
    clock = StageClock(plan.run_directory)
    with clock.stage("data"):
        data = prepare_data(plan, reporter=reporter)
    recipe = demo_recipe(plan, data)
    has_begun = (plan.run_directory / RECIPE_FILE).is_file()
    with clock.stage("training"), RunRecorder(recipe, database=plan.database) as recorder:
        training = train(
            recipe, reporter=reporter, resume=has_begun, callbacks=[recorder], run_directory=plan.run_directory
        )
    result = training.result
    if result.stopped_by == "interrupt":
        return DemoOutcome(plan=plan, report=None, num_steps=result.steps, signal_number=result.signal_number)
    with clock.stage("evaluation"):
        results = score(training, plan, reporter=reporter)
    finished = make_report(training, results, stage_seconds=clock.seconds, notes=data_notes(data))
    write_report(finished)
    return DemoOutcome(plan=plan, report=report_as_json(finished), num_steps=result.steps)


def prepare_data(plan: DemoPlan, *, reporter: Reporter) -> DemoData:
    """Build the demo's files, or return those that are there."""
    try:
        return read_demo_data(plan.data_directory)
    except FileError:
        reporter.stage("read this Python's library")
        return build_demo_data(plan.data_directory, quick=plan.is_quick, seed=plan.seed)


def demo_recipe(plan: DemoPlan, data: DemoData) -> Recipe:
    """Return the packaged recipe with the demo's files and budget."""
    with as_file(files("banyan.recipes") / "demo.yaml") as path:
        mapping = read_mapping(path)
    for task in mapping["tasks"]:
        task["data"] = {split: str(file) for split, file in data.files[task["name"]].items()}
    mapping |= {"name": plan.run_directory.name, "seed": plan.seed, "minutes": plan.training_minutes}
    recipe = config_from_mapping(Recipe, mapping, source="demo.yaml")
    if not plan.is_quick:
        return recipe
    # One evaluation, and a small one: at this size it costs as much as the training.
    evaluation = dataclasses.replace(
        recipe.evaluation, num_validations=1, max_validation_examples=8, max_test_examples=60
    )
    return dataclasses.replace(recipe, evaluation=evaluation)


def score(training: TrainingOutcome, plan: DemoPlan, *, reporter: Reporter) -> dict[str, TaskResult]:
    """Score the best checkpoint on the test splits, store every answer, and put the baselines beside it."""
    material, limit = training.material, training.recipe.evaluation.max_test_examples
    examples = {name: spread(items, limit) for name, items in material.test.items()}
    judges = judges_of(material)
    reporter.stage("score on unseen data")
    with (
        load(training.result.best_checkpoint) as model,
        AnswerRecorder(model, endpoint="demo", database=plan.database) as recorder,
    ):
        results = evaluate_model(
            model, examples, judges=judges, reporter=reporter, on_predictions=recorder.record_answers
        )
    reporter.stage("simple baselines")
    return add_baselines(
        results, material.train, judges=judges, image_tokenizer=material.image_tokenizer, reporter=reporter
    )


def data_notes(data: DemoData) -> tuple[str, ...]:
    """Return what a report says about the data: sizes, splits, leaks."""
    counts = ", ".join(f"{task} {splits['train']:,}" for task, splits in data.counts.items())
    modules = ", ".join(f"{number} for {split}" for split, number in data.num_modules.items())
    leaked, checked = sum(data.leakage.leaked.values()), sum(data.leakage.num_checked.values())
    return (
        f"Training rows: {counts}. Library modules: {modules}.",
        f"Leakage check: {leaked} of {checked} held-out rows stand in any training file.",
    )


class StageClock:
    """Seconds spent in each stage, kept on disk so that an interrupted demo reports all of its time."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _STAGES_FILE
        self.seconds: dict[str, float] = dict(read_json(self._path)) if self._path.is_file() else {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage, also if it is interrupted."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began
            atomic_write_json(self._path, self.seconds)
