"""Does one run of the proof and keeps what it scored; what is done is not done again, what was stopped goes on.

Results and runs carry in their names which recipe made them: that of another recipe neither counts nor is gone on with.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from banyan.core.config import config, config_from_mapping, config_to_mapping
from banyan.core.devices import choose_device
from banyan.core.files import atomic_write_json, read_json
from banyan.data.corpus import corpus_key
from banyan.train.callbacks import Callback, StepRecord
from banyan.workflows.calibration import calibrate
from banyan.workflows.comparing import add_baselines
from banyan.workflows.kept_scores import TaskScore, kept_scores, score_checkpoint
from banyan.workflows.live_model import judges_of
from banyan.workflows.material import Material, gather_material, shares_of
from banyan.workflows.recipe import Recipe, with_steps
from banyan.workflows.reporter import Reporter
from banyan.workflows.resuming import settle_recipe
from banyan.workflows.scoring import TaskResult
from banyan.workflows.training import TrainingOutcome, train
from proofs.joint.settings import COMPARED_BY
from proofs.record import add_to_record, read_record

_MAX_TRAIN = 20_000  # examples that a simple system learns from
_MAX_TEST = 100_000
_MAX_CALIBRATED = 2_500  # examples that a temperature is fitted on, and as many that it is measured on
_KEY_DIGITS = 8
_NUM_RECORDED = 200  # resampled scores of a task that the record keeps; the first ones, so that runs stay paired
_RECORDED_DIGITS = 5


@config
class Calibrated:
    """What calibration changed of one classifier, on its test examples: before and after."""

    table_share: float | None  # of the logits; None: its head has no table
    accuracy: tuple[float, float]
    error: tuple[float, float]  # expected calibration error


@config
class RunResult:
    """What is kept of one run."""

    question: str  # fingerprint of the recipe, and of how it was scored
    tasks: dict[str, TaskScore]
    steps: int
    num_parameters: int
    seconds: float  # of training
    calibration: dict[str, Calibrated]  # by task
    baselines: dict[str, dict[str, float]]  # by task and simple system; in the first run of a form


class Runs:
    """Runs of recipes that differ little, in a folder where each leaves one file."""

    def __init__(self, folder: Path, *, reporter: Reporter, record: Path | None = None) -> None:
        self.deadline = math.inf  # of time.monotonic
        self._folder = folder
        self._record = record
        self._recorded = {} if record is None else read_record(record)
        self._reporter = reporter
        self._kept: tuple[str, Material] | None = None  # of the last run: the next one often learns from the same
        self._told: set[str] = set()  # runs whose other results have been spoken of

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.deadline

    def result(self, name: str, recipe: Recipe) -> RunResult | None:
        """Return what a run of this very recipe scored, if it has been done; say so if another recipe's has."""
        path = self._folder / f"{keyed(name, recipe)}.json"
        if path.is_file():
            return config_from_mapping(RunResult, read_json(path), source=str(path))
        if path.stem in self._recorded:
            return config_from_mapping(RunResult, self._recorded[path.stem], source=str(self._record))
        self.tell_of_others(name, ".json")
        return None

    def keep_record(self, results: Mapping[str, RunResult]) -> None:
        """Record results by the names of their runs, with fewer resampled scores each: an interval needs no more."""
        if self._record is not None and results:
            add_to_record(self._record, {name: config_to_mapping(_thinned(found)) for name, found in results.items()})

    def tell_of_others(self, name: str, suffix: str = "") -> None:
        """Say once if something of this name is there that another recipe made."""
        others = sorted(other.name for other in self._folder.glob(f"{name}-{'[0-9a-f]' * _KEY_DIGITS}{suffix}"))
        if others and name not in self._told:
            self._told.add(name)
            self._reporter.line(f"{name}: what another recipe made does not count ({', '.join(others)})")

    def directory(self, name: str, recipe: Recipe) -> Path:
        """Return where a run lies while it goes on, and for good if it keeps its model."""
        return self._folder / "runs" / keyed(name, recipe)

    def do(self, name: str, recipe: Recipe, *, is_first: bool = False, keeps_model: bool = False) -> RunResult | None:
        """Do a run, or go on with it, until it is done or the time is up (then None).

        The first run of a form also scores the simple systems; a run that keeps its model calibrates it before it is
        scored.
        """
        if (known := self.result(name, recipe)) is not None or self.is_over:
            return known
        directory = self.directory(name, recipe)
        self._reporter.stage(name)
        material = self._material(recipe)
        outcome = train(
            dataclasses.replace(recipe, name=directory.name),
            reporter=self._reporter,
            resume=True,
            callbacks=[StopAt(self.deadline)],
            run_directory=directory,
            material=material,
        )
        if outcome.result.stopped_by == "interrupt":
            self.deadline = -math.inf  # whoever stopped it wants no other run begun
            return None
        result = self._scored(
            outcome, material, question=question_of(recipe), is_first=is_first, keeps_model=keeps_model
        )
        atomic_write_json(self._folder / f"{directory.name}.json", config_to_mapping(result))
        if not keeps_model:
            shutil.rmtree(directory)
        return result

    def _material(self, recipe: Recipe) -> Material:
        """Return what a recipe learns from; only its shares are worked out anew where nothing else differs."""
        settled = settle_recipe(recipe, self._folder / "material", resume=False)
        key = str([_as_rendered(settled), settled.tokenizer, settled.train.seq_len, settled.model.max_seq_len])
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # before another one takes as much memory
            self._kept = (key, gather_material(settled, self._folder / "material", reporter=self._reporter))
        rates, plan = shares_of(settled, self._kept[1].sources)
        return dataclasses.replace(self._kept[1], rates=rates, plan=plan)

    def _scored(
        self, outcome: TrainingOutcome, material: Material, *, question: str, is_first: bool, keeps_model: bool
    ) -> RunResult:
        best = outcome.result.best_checkpoint
        calibration = self._calibrated(best) if keeps_model else {}
        self._reporter.stage("score")
        results = score_checkpoint(
            best,
            material,
            device=choose_device(outcome.recipe.device),
            max_examples=_MAX_TEST,
            reporter=self._reporter,
        )
        names = {name: metric for name, metric in COMPARED_BY.items() if name in results}
        return RunResult(
            question=question,
            tasks=kept_scores(results, metrics=names),
            steps=outcome.recipe.train.steps,
            num_parameters=outcome.num_parameters,
            seconds=round(outcome.result.seconds, 1),
            calibration=calibration,
            baselines=self._baselines(results, material) if is_first else {},
        )

    def _calibrated(self, best: Path) -> dict[str, Calibrated]:
        self._reporter.stage("calibrate")
        found = calibrate(best, tasks=(), data=(), split="test", max_examples=_MAX_CALIBRATED, reporter=self._reporter)
        return {
            name: Calibrated(
                table_share=own.table_share,
                accuracy=(own.accuracy_before, own.accuracy_after),
                error=(own.before["ece"], own.after["ece"]),
            )
            for name, own in found.items()
        }

    def _baselines(self, results: dict[str, TaskResult], material: Material) -> dict[str, dict[str, float]]:
        self._reporter.stage("simple systems")
        beside = add_baselines(
            results,
            material.train,
            judges=judges_of(material),
            image_tokenizer=material.image_tokenizer,
            reporter=self._reporter,
            num_samples=2,
            max_train=_MAX_TRAIN,
            with_slow=True,
        )
        return {
            name: {b.name: b.evaluation.scores[COMPARED_BY.get(name, b.evaluation.main_metric)] for b in own.baselines}
            for name, own in beside.items()
        }


def _thinned(result: RunResult) -> RunResult:
    def thin(score: TaskScore) -> TaskScore:
        samples = tuple(round(value, _RECORDED_DIGITS) for value in score.samples[:_NUM_RECORDED])
        return dataclasses.replace(score, samples=samples)

    return dataclasses.replace(result, tasks={name: thin(score) for name, score in result.tasks.items()})


def question_of(recipe: Recipe) -> str:
    """Return the fingerprint of what a run is asked: its recipe, and how this proof scores it.

    Of the recipe counts what differs from the defaults, so that a key which the program learns or renames leaves what
    has been measured as it is.
    """
    return corpus_key(config_to_mapping(recipe, with_defaults=False), COMPARED_BY, _MAX_TRAIN, _MAX_TEST)


def keyed(name: str, recipe: Recipe) -> str:
    """Return the name of a run with a few digits of its question behind it."""
    return f"{name}-{question_of(recipe)[:_KEY_DIGITS]}"


def _as_rendered(recipe: Recipe) -> Sequence[Any]:
    """Return the tasks without what has no part in their examples."""
    return [dataclasses.replace(task, rate=None, weight=1.0, label_smoothing=0.0) for task in recipe.tasks]


def with_length(recipe: Recipe, *, minutes: float, steps: int | None, seed: int) -> Recipe:
    """Return the recipe with a length and a seed; steps that are known go before minutes."""
    seeded = dataclasses.replace(recipe, seed=seed, minutes=minutes)
    return seeded if steps is None else with_steps(seeded, steps)


class StopAt(Callback):
    """Asks a run to save and stop when the time is up."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def on_step(self, record: StepRecord) -> None:
        """Look at the clock."""
        if time.monotonic() > self._deadline:
            self._deadline = math.inf  # a second signal would interrupt at once
            signal.raise_signal(signal.SIGINT)
