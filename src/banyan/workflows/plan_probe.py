"""A few seconds of a recipe's real training in a process of its own: what steps, scores, saves and memory cost here."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import statistics
import time
from pathlib import Path

import psutil
import torch

from banyan.core.config import config, config_from_mapping, config_to_mapping
from banyan.core.devices import choose_device
from banyan.core.files import atomic_write_json, read_json, read_text
from banyan.core.memory import give_back_freed_memory
from banyan.model.config import ModelConfig
from banyan.model.transformer import Transformer
from banyan.train.accounting import WeightCounts, count_weights
from banyan.train.callbacks import Callback, CheckpointRecord, EvaluationRecord, RunStart, StepRecord
from banyan.train.run_files import EVENTS_FILE, METRICS_FILE, TENSORBOARD_DIRECTORY
from banyan.workflows.learning import new_loader, prepare_learning
from banyan.workflows.material import Material, gather_material
from banyan.workflows.number_formats import settle_formats
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.run_records import RunRecorder
from banyan.workflows.settling import new_model, settle_length, settle_sizes
from banyan.workflows.training import train

_FIRST_STEPS = 3  # to learn how many steps fill the probe
_MIN_STEPS, _MAX_STEPS = 4, 5_000
_WEIGHT_BYTES = 4
_WARM_SHARE = 0.1  # of the timed steps, at their beginning, that are not counted


@config
class Measured:
    """What a few seconds of training took. Seconds are of wall-clock time; bytes of the whole process, or of files."""

    num_steps: int
    step_seconds: float
    evaluation_seconds: float  # a later one; 0: nothing is evaluated
    plot_seconds: float  # the picture of the losses
    save_seconds: float  # by which one delays the run; the last one is waited for, and in edge_seconds
    edge_seconds: float  # from the model to the first step, its warming up, and from the last score to the end
    checkpoint_bytes: int
    log_bytes_per_step: float
    base_bytes: int  # held before the first step, without the weights
    step_peak_bytes: int  # held at most during steps, before anything was scored or saved
    peak_bytes: int  # held at most, with evaluation and save
    device_peak_bytes: int | None = None  # of an accelerator's memory


@config
class ProbeReport:
    """What is known of a recipe before it is launched."""

    model: ModelConfig
    weights: WeightCounts
    learning: WeightCounts  # those that are not frozen
    steps: int  # that the recipe comes to
    evaluation_interval: int | None  # steps; None: nothing is evaluated
    checkpoint_interval: int  # steps
    tokens_per_step: int
    targets_per_step: int
    start_seconds: float  # from the start of the process until it could read the recipe
    prepare_seconds: float  # reading data, tokenizers, rendering
    prepared_bytes: int  # of files that the run keeps of that
    measured: Measured | None = None  # None: nothing was trained


def probe_recipe(recipe: Recipe, directory: Path, *, seconds: float) -> ProbeReport:
    """Prepare the recipe's material in a directory, train for about so many seconds, score and save once.

    Zero seconds: nothing is trained. Call it in a process of its own, for its memory is measured by the whole process.
    Raises: whatever the training itself would raise.
    """
    ready_at = time.time()
    material = gather_material(recipe, directory, reporter=SilentReporter())
    prepare_seconds = time.time() - ready_at
    settled, model = _settle(recipe, material, directory)
    counts = count_weights(model)
    batch = new_loader(settled, material).next_batch()
    trial = _Trial(settled, material, directory)
    return ProbeReport(
        model=model.config,
        weights=counts,
        learning=count_weights(model, only_learning=True),
        steps=settled.train.steps,
        evaluation_interval=settled.train.evaluation_interval if any(material.validation.values()) else None,
        checkpoint_interval=settled.train.checkpoint_interval,
        tokens_per_step=batch.num_tokens,
        targets_per_step=batch.num_targets,
        start_seconds=ready_at - psutil.Process().create_time(),
        prepare_seconds=prepare_seconds,
        prepared_bytes=_size_of(directory),
        measured=trial.measure(seconds=seconds, num_weights=counts.total) if seconds else None,
    )


def write_probe(path: Path, report: ProbeReport) -> None:
    """Save a report for the process that asked for it."""
    atomic_write_json(path, config_to_mapping(report))


def read_probe(path: Path) -> ProbeReport:
    """Read a report that another process has saved."""
    return config_from_mapping(ProbeReport, read_json(path), source=str(path))


def _settle(recipe: Recipe, material: Material, directory: Path) -> tuple[Recipe, Transformer]:
    """Return the recipe with its steps settled, and its model without weights: their memory is the training's."""
    device = choose_device(recipe.device)
    recipe = settle_sizes(recipe, material, reporter=SilentReporter(), device=device)
    model = new_model(recipe, material).to(device)
    silent = SilentReporter()
    recipe = settle_formats(recipe, model, reporter=silent)
    learning = prepare_learning(recipe, model, material, run_directory=directory, reporter=silent)
    return settle_length(recipe, model, learning, reporter=silent), model.to("meta")


class _Trial:
    """Trains a recipe twice in one directory: a few steps to learn their pace, then as many as fill the probe."""

    def __init__(self, recipe: Recipe, material: Material, directory: Path) -> None:
        self._recipe = recipe
        self._material = material
        self._directory = directory

    def measure(self, *, seconds: float, num_weights: int) -> Measured:
        """Train and return what it took."""
        base_bytes, pace_seconds = self._learn_pace(num_weights)
        num_steps = round(min(max(seconds / pace_seconds, _MIN_STEPS), _MAX_STEPS))
        logs_before = self._log_bytes()
        began = time.perf_counter()
        watch = self._train(num_steps, self._material)
        ended = time.perf_counter()
        return Measured(
            num_steps=num_steps,
            step_seconds=watch.step_seconds,
            evaluation_seconds=watch.evaluation_seconds,
            plot_seconds=watch.plot_seconds,
            save_seconds=watch.save_seconds,
            edge_seconds=watch.steps_from - began + watch.first_seconds + ended - watch.scored_at,
            checkpoint_bytes=watch.checkpoint_bytes,
            log_bytes_per_step=(self._log_bytes() - logs_before) / num_steps,
            base_bytes=base_bytes,
            step_peak_bytes=watch.step_peak_bytes,
            peak_bytes=_peak_bytes(),
            device_peak_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        )

    def _learn_pace(self, num_weights: int) -> tuple[int, float]:
        """Return what the process holds before it learns, without the weights, and the seconds of a step.

        Trainer and callbacks know each other, so that a trial that is over is held until somebody looks for circles:
        its weights, gradients and optimizer would count as if the second trial had needed them.
        """
        watch = self._train(_FIRST_STEPS, dataclasses.replace(self._material, validation={}))
        shutil.rmtree(self._directory / "checkpoints")
        for link in ("last", "best"):
            (self._directory / link).unlink(missing_ok=True)
        gc.collect()
        give_back_freed_memory()
        weight_bytes = _WEIGHT_BYTES * num_weights
        num_copies = 1 + self._recipe.train.health.keeps_beginning(weight_bytes)
        return max(0, watch.start_bytes - num_copies * weight_bytes), watch.last_step_seconds

    def _train(self, num_steps: int, material: Material) -> _Stopwatch:
        half = -(-num_steps // 2)  # score and save in the middle: what that holds meets what a step holds
        shortened = dataclasses.replace(
            self._recipe.train,
            steps=num_steps,
            evaluate_every=half,
            checkpoint_every=half,
            early_stop_patience=None,
        )
        recipe = dataclasses.replace(self._recipe, train=shortened)
        watch = _Stopwatch()
        with RunRecorder(recipe, database=f"sqlite:///{self._directory / 'probe.db'}") as recorder:
            train(
                recipe,
                reporter=SilentReporter(),
                run_directory=self._directory,
                material=material,
                callbacks=[recorder, watch],
            )
        return watch

    def _log_bytes(self) -> int:
        files = (self._directory / METRICS_FILE, self._directory / EVENTS_FILE)
        logs = sum(path.stat().st_size for path in files if path.exists())
        return logs + _size_of(self._directory / TENSORBOARD_DIRECTORY)


class _Stopwatch(Callback):
    """Takes the time and the memory at every record; it hears each one last, when all others have dealt with it."""

    def __init__(self) -> None:
        self._marks: list[float] = []
        self._first_seconds = 0.0
        self._save_at = 0  # steps done when the first score and save began; the save may end some steps later
        self._save_from = 0.0  # when the score was there
        self._saved: tuple[int, float] | None = None  # steps done when it was over, and when that was
        self.start_bytes = self.step_peak_bytes = self.checkpoint_bytes = 0
        self.plot_seconds = self.scored_at = 0.0
        self._evaluations: list[float] = []

    @property
    def evaluation_seconds(self) -> float:
        """How long a later evaluation takes."""
        return self._evaluations[-1] if self._evaluations else 0.0

    @property
    def first_seconds(self) -> float:
        """By how much the first steps and the first evaluation took longer than later ones."""
        return self._warm_up_seconds + self._first_score_seconds

    @property
    def _first_score_seconds(self) -> float:
        """By how much the first evaluation took longer than a later one: caches, imports."""
        return max(0.0, self._evaluations[0] - self._evaluations[-1]) if self._evaluations else 0.0

    @property
    def steps_from(self) -> float:
        """When the first step began."""
        return self._marks[0] - self._first_seconds

    @property
    def step_seconds(self) -> float:
        """Mean of the steps without the first ones, and without those during which a checkpoint was written."""
        first = self._num_warm
        pauses = range(self._save_at, self._saved[0] + 1) if self._saved else ()
        steps = [self._marks[n] - self._marks[n - 1] for n in range(first, len(self._marks)) if n not in pauses]
        return statistics.fmean(steps or [self.last_step_seconds])

    @property
    def _warm_up_seconds(self) -> float:
        """By how much the first steps took longer than others: caches, compilation."""
        began, num_warm = self.steps_from, self._num_warm
        return max(0.0, self._marks[num_warm - 1] - began - num_warm * self.step_seconds)

    @property
    def _num_warm(self) -> int:
        return max(1, round(_WARM_SHARE * len(self._marks)))

    @property
    def last_step_seconds(self) -> float:
        """How long the last step took."""
        return self._marks[-1] - self._marks[-2]

    @property
    def save_seconds(self) -> float:
        """By how much a save delays the run, whether or not it goes on meanwhile."""
        if self._saved is None:
            return 0.0
        num_done, ended = self._saved
        return max(0.0, ended - self._save_from - (num_done - self._save_at) * self.step_seconds)

    def on_start(self, record: RunStart) -> None:
        """Remember what the process holds."""
        self.start_bytes = psutil.Process().memory_info().rss

    def on_step(self, record: StepRecord) -> None:
        """Remember when it was done."""
        if not self._marks:
            self._first_seconds = record.seconds
        self._marks.append(time.perf_counter())
        self.scored_at = self._marks[-1]
        if not self._save_at and record.step * 2 >= record.num_steps:
            self._save_at, self._save_from = record.step, self._marks[-1]
            self.step_peak_bytes = _peak_bytes()

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Remember how long it took, and what followed from it: the picture of the losses."""
        self.scored_at = time.perf_counter()
        if not self._evaluations:
            self._save_from = self.scored_at
            self.plot_seconds = self.scored_at - self._marks[-1] - record.seconds
        self._evaluations.append(record.seconds)

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Remember when it was over, and how large it is."""
        self._saved = self._saved or (len(self._marks), time.perf_counter())
        self.checkpoint_bytes = record.size_bytes


def _peak_bytes() -> int:
    """Return the most memory this process has held; its parent's, which `getrusage` would mix in, left out."""
    status = Path("/proc/self/status")
    if not status.is_file():  # not Linux
        return int(psutil.Process().memory_info().rss)
    line = next(line for line in read_text(status).splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
