"""Runs of a joint recipe and of its parts, done one by one: what is done is kept, and never done twice."""

from __future__ import annotations

import dataclasses
import shutil
from functools import cached_property
from pathlib import Path

from banyan.core.config import config, config_from_mapping, config_to_mapping, read_config, write_config
from banyan.core.devices import choose_device
from banyan.core.errors import ConfigError, DataError, DivergedError
from banyan.core.files import atomic_write_json, read_json
from banyan.train.callbacks import Callback, StepRecord
from banyan.workflows.kept_scores import TaskScore, kept_scores, score_checkpoint
from banyan.workflows.learning import whole_batches
from banyan.workflows.material import Material, gather_material
from banyan.workflows.number_formats import settle_formats
from banyan.workflows.recipe import RECIPE_FILE, Recipe
from banyan.workflows.reporter import Reporter, SilentReporter
from banyan.workflows.resuming import settle_recipe
from banyan.workflows.settling import new_model, settle_length, settle_sizes
from banyan.workflows.training import TrainingOutcome, train
from banyan.workflows.twins import Cell, JointLength, cell_material, cell_recipe, joint_length
from banyan.workflows.validation_budget import settle_validation

_PLAN_FILE = "plan.json"
_DIVERGED = -1e9  # in place of a validation score: any other is better


@config
class CellResult:
    """What is kept of one run."""

    tasks: dict[str, TaskScore]  # empty: it diverged
    validation: float  # the score that chose its checkpoint, and chooses among learning rates
    steps: int
    batch_seqs: int  # rows in a step
    num_parameters: int
    seconds: float  # of training


@config
class _RunsPlan:
    """For which question a folder holds results."""

    recipe_sha256: str  # of the recipe as it was asked for
    data_sha256: str
    max_examples: int
    length: JointLength


class TwinRuns:
    """The runs of one recipe, in a folder where each leaves one file."""

    def __init__(self, recipe: Recipe, folder: Path, *, max_examples: int, reporter: Reporter) -> None:
        if recipe.transfer.lora is not None:
            raise ConfigError(
                "twins of a run that teaches an adapter are not known: transfer.lora is set.",
                hint="leave transfer.lora out; the parent may stay",
            )
        self._asked = settle_recipe(recipe, folder / "material", resume=False)
        self._folder = folder
        self._max_examples = max_examples
        self._reporter = reporter
        self._known: dict[str, CellResult] = {}
        self._refuse_another_question()

    def result(self, cell: Cell) -> CellResult | None:
        """Return what a run scored, if it has been done."""
        path = self._path(cell)
        if cell.name not in self._known and path.is_file():
            self._known[cell.name] = config_from_mapping(CellResult, read_json(path), source=str(path))
        return self._known.get(cell.name)

    def do(self, cell: Cell, *, may_diverge: bool = False) -> CellResult | None:
        """Do a run, keep its result and return it; None if it was interrupted, and goes on when it is asked for again.

        One that diverges ends the work, unless it may: then that is its result.
        Raises: ConfigError if a task has nothing that its learning rate could be chosen by; as `train`.
        """
        self._reporter.stage(cell.name)
        recipe, length = self._joint
        directory = self._folder / "runs" / cell.name
        asked = cell_recipe(recipe, length, cell)
        try:
            result = self._run(asked, cell_material(self._material, length, cell.group.tasks), directory)
        except DivergedError as error:
            if not may_diverge:
                raise
            self._reporter.line(f"{cell.name} diverged, so its learning rate is not chosen: {error.message}")
            result = _diverged(asked)
        if result is None:
            return None
        atomic_write_json(self._path(cell), config_to_mapping(result))
        shutil.rmtree(directory, ignore_errors=True)
        return result

    def _run(self, recipe: Recipe, material: Material, directory: Path) -> CellResult | None:
        outcome = train(
            recipe,
            reporter=SilentReporter(),
            resume=True,
            callbacks=[Told(self._reporter, recipe.name)],
            run_directory=directory,
            material=material,
        )
        return None if outcome.result.stopped_by == "interrupt" else self._scored(outcome, material)

    @cached_property
    def _material(self) -> Material:
        material = gather_material(self._asked, self._folder / "material", reporter=self._reporter)
        _refuse_unscored(material)
        return material

    @cached_property
    def _joint(self) -> tuple[Recipe, JointLength]:
        """Return the joint recipe with everything settled, and how long it is; both stay what they were at first."""
        plan = self._plan()
        if plan is not None and plan.data_sha256 != self._material.fingerprint:
            raise DataError(
                f"{self._folder} holds runs on other data than the recipe names now.",
                hint="bring the earlier files back, or name another folder: --output",
            )
        if plan is not None:
            return read_config(Recipe, self._folder / RECIPE_FILE), plan.length
        recipe = self._settled(self._asked)
        length = joint_length(recipe, self._material)
        write_config(self._folder / RECIPE_FILE, recipe)
        new = _RunsPlan(
            recipe_sha256=self._asked.fingerprint,
            data_sha256=self._material.fingerprint,
            max_examples=self._max_examples,
            length=length,
        )
        atomic_write_json(self._folder / _PLAN_FILE, config_to_mapping(new))
        return recipe, length

    def _settled(self, recipe: Recipe) -> Recipe:
        device = choose_device(recipe.device)
        recipe = settle_sizes(recipe, self._material, reporter=self._reporter, device=device)
        model = new_model(recipe, self._material).to(device)
        recipe = settle_formats(recipe, model, reporter=self._reporter)
        learning = whole_batches(recipe, self._material)
        recipe = settle_length(recipe, model, learning, reporter=self._reporter)
        return settle_validation(recipe, model, self._material, reporter=self._reporter)

    def _plan(self) -> _RunsPlan | None:
        path = self._folder / _PLAN_FILE
        return config_from_mapping(_RunsPlan, read_json(path), source=str(path)) if path.is_file() else None

    def _refuse_another_question(self) -> None:
        plan = self._plan()
        if plan is None or (plan.recipe_sha256, plan.max_examples) == (self._asked.fingerprint, self._max_examples):
            return
        raise ConfigError(
            f"{self._folder} holds runs of another recipe, or runs that were scored on other examples.",
            hint=f"its recipe is {self._folder / RECIPE_FILE}; for another one name another folder: --output",
        )

    def _scored(self, outcome: TrainingOutcome, material: Material) -> CellResult:
        if outcome.result.best_score is None:
            raise DivergedError(
                f"{outcome.recipe.name} cannot be compared: none of its validation scores is a number, and by them the "
                "learning rate is chosen.",
                hint="lower optimizer.learning_rate",
            )
        results = score_checkpoint(
            outcome.result.best_checkpoint,
            material,
            device=choose_device(outcome.recipe.device),
            max_examples=self._max_examples,
            reporter=self._reporter,
        )
        return CellResult(
            tasks=kept_scores(results),
            validation=outcome.result.best_score,
            steps=outcome.recipe.train.steps,
            batch_seqs=outcome.recipe.train.batch_seqs,
            num_parameters=outcome.num_parameters,
            seconds=round(outcome.result.seconds, 1),
        )

    def _path(self, cell: Cell) -> Path:
        return self._folder / "cells" / f"{cell.name}.json"


def _diverged(recipe: Recipe) -> CellResult:
    train_config = recipe.train
    return CellResult(
        tasks={},
        validation=_DIVERGED,
        steps=train_config.steps,
        batch_seqs=train_config.batch_seqs,
        num_parameters=0,
        seconds=0.0,
    )


def _refuse_unscored(material: Material) -> None:
    if lacking := [task.name for task in material.tasks if not material.validation[task.name]]:
        raise ConfigError(
            f"joint and single training cannot be compared: {', '.join(lacking)} has 0 validation examples, and by "
            "those the learning rate of every run is chosen.",
            hint=f"set tasks.{lacking[0]}.data.validation, or validation_fraction",
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Told(Callback):
    """Tells how far one run is."""

    reporter: Reporter
    name: str

    def on_step(self, record: StepRecord) -> None:
        """Say how many steps are done."""
        self.reporter.progress(record.step, record.num_steps, note=f"loss {record.loss:.3f}")
