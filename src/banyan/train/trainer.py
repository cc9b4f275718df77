"""The loop around the step: it learns, evaluates, saves, stops when asked to, and goes on exactly where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from banyan.core.config import config_to_mapping
from banyan.core.errors import DataError, DivergedError, SpaceError
from banyan.core.locks import hold_directory
from banyan.core.types import HeadSpec
from banyan.data.batch import BatchLoader
from banyan.model.transformer import Transformer
from banyan.train.backward_update import backward_update
from banyan.train.balance import TaskBalance, default_balance
from banyan.train.balance_config import task_groups
from banyan.train.balance_methods import balance_method
from banyan.train.callbacks import Callback, EventRecord, FitResult, Record, RunStart, tell
from banyan.train.config import TrainConfig
from banyan.train.configured_loss import configured_loss
from banyan.train.conflicts import ConflictMonitor
from banyan.train.evaluations import Evaluations, Evaluator
from banyan.train.health.data import DataShape
from banyan.train.health.watch import HealthWatch
from banyan.train.interrupt import InterruptWatch
from banyan.train.layer_rates import LayerRates
from banyan.train.loss_plot import LossPlot
from banyan.train.losses import joint_loss
from banyan.train.memory import settle_freed_memory
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig
from banyan.train.precision import device_of
from banyan.train.ranks import ALONE, Ranks
from banyan.train.recovery import Recovery
from banyan.train.remedies import LowerRate, Remedy, Rewind, ShrinkScores, Stop
from banyan.train.run_files import EventsFile, MetricsFile, TensorBoard
from banyan.train.saver import RunSaver, SavedParts
from banyan.train.schedule import ScheduleConfig
from banyan.train.score_bound import shrink_scores
from banyan.train.snapshots import SnapshotRing
from banyan.train.state import Progress, TransformerFiles, WeightFiles, readable_state
from banyan.train.step import LossFunction
from banyan.train.stepper import StepParts, Stepper, StepTaken

MAX_SKIPPED, SKIP_WINDOW = 10, 100  # so many updates that no sound model makes, among so many, end a run
UNSOUND = ("not_finite", "diverged")


class Trainer:
    """Trains one model on one stream of batches, inside one run directory.

    Data order, dropout and learning rate are functions of the seed and the step alone, so a resumed run ends with the
    very weights of one that was never interrupted (bitwise on a CPU).
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        loader: BatchLoader,
        task_names: Sequence[str],
        task_heads: Sequence[HeadSpec | None],
        config: TrainConfig,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        run_directory: Path,
        sidecars: Mapping[str, bytes] | None = None,
        callbacks: Sequence[Callback] = (),
        evaluator: Evaluator | None = None,
        seed: int = 0,
        balance: TaskBalance | None = None,
        loss_function: LossFunction | None = None,
        weight_files: WeightFiles | None = None,
        layer_rates: LayerRates | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model = model
        self._loader = loader
        self._config = config
        self._task_names = tuple(task_names)
        self._run_directory = run_directory
        self._evaluations = Evaluations(evaluator, config=config)
        self._progress = Progress()
        self._ranks = ranks
        loss_function = loss_function or partial(joint_loss, task_heads=tuple(task_heads))
        model_optimizer = _optimizer_of(model, optimizer, config=config, layer_rates=layer_rates, ranks=ranks)
        balance = balance or default_balance(cast(Transformer, model), task_heads)
        parts = StepParts(
            model=model,
            loader=loader,
            optimizer=model_optimizer,
            loss_function=configured_loss(loss_function, model=model, config=config, world_size=ranks.world_size),
            balance=balance,
            config=config,
            schedule=schedule,
            learning_rate=optimizer.learning_rate,
            task_names=self._task_names,
            seed=seed,
            ranks=ranks,
            update=backward_update(model, model_optimizer, config=config, world_size=ranks.world_size),
            balance_method=balance_method(config.balance, balance),
            task_groups=task_groups(config.balance, self._task_names, world_size=ranks.world_size),
            conflicts=_monitor_of(model, loss_function, config=config, num_tasks=balance.num_tasks, ranks=ranks),
        )
        self._optimizer = parts.optimizer
        self._stepper = Stepper(parts)
        settings = {"train": config, "optimizer": optimizer, "schedule": schedule, "seed": seed}
        self._saver = _saver_of(
            parts,
            run_directory,
            weight_files=weight_files or TransformerFiles(),
            settings=config_to_mapping(settings),
            sidecars=sidecars or {},
        )
        files = _files_of(model, run_directory, log_every=config.log_every)
        self._callbacks: tuple[Callback, ...] = (*files, *callbacks) if ranks.is_main else ()
        self._watch, self._recovery = self._watched(parts, task_heads, layer_rates)

    def _watched(
        self, parts: StepParts, task_heads: Sequence[HeadSpec | None], layer_rates: LayerRates | None
    ) -> tuple[HealthWatch | None, Recovery | None]:
        """Return what looks after the run, if anything may."""
        config = parts.config.health
        if parts.update is not None:  # its gradient is not known in time; the update itself shortens what is too long
            config = replace(config, rescale=False)
        if not config.watch or parts.ranks.is_model_divided:  # it looks at whole weights and layers
            return None, None
        watch = HealthWatch(
            config,
            model=parts.model,
            balance=parts.balance,
            task_names=parts.task_names,
            shape=_shape_of(parts.model, task_heads),
            clip_norm=parts.config.clip_norm,
            losses_of=self._stepper.losses_of,
            redraw=self._stepper.redraw,
            layer_rates=layer_rates,
        )
        snapshots = SnapshotRing(parts.model, holders=[parts.optimizer], max_bytes=config.max_snapshot_bytes)
        return watch, Recovery(watch, snapshots=snapshots, saver=self._saver, snapshot_every=config.snapshot_every)

    def fit(
        self,
        *,
        resume: bool = False,
        holds_lock: bool = False,
        restart_data: bool = False,
        notes: Sequence[EventRecord] = (),
    ) -> FitResult:
        """Train until the last step, an early stop, or a signal; then save and say how it ended.

        With `resume` the run goes on from its newest valid checkpoint, or begins if it never saved. `holds_lock` says
        that the caller has the run directory for itself already, `restart_data` that the stream of data is another one
        than before and begins at its front; `notes` are events to tell when the run begins.
        Raises: BusyError if another process trains here; SpaceError if nothing can be written; CheckpointError if no
        checkpoint can be used; DataError; DivergedError; MemoryLimitError.
        """
        device = device_of(self.model)
        devices = [device] if device.type == "cuda" else []
        settle_freed_memory(is_kept=not self._config.low_memory)
        lock = nullcontext() if holds_lock or not self._ranks.is_main else hold_directory(self._run_directory)
        with lock, InterruptWatch() as watch, torch.random.fork_rng(devices=devices):
            try:
                self._begin(notes, resume=resume, restart_data=restart_data)
                self._loop(watch)
                return self._end(watch)
            finally:
                with suppress(SpaceError):  # whatever ended the run counts more
                    self._tell_of_saves(wait=True)
                for callback in self._callbacks:
                    callback.close()

    def _begin(self, notes: Sequence[EventRecord], *, resume: bool, restart_data: bool) -> None:
        restored, events = self._saver.restore() if resume else self._saver.check_fresh()
        if restored is not None:
            self._progress = restored.progress
            with readable_state():
                if not restart_data:
                    self._loader.restore(restored.loader_state)
                if self._watch is not None:
                    self._watch.restore(self._progress.health)
        step = self._progress.step
        start = RunStart(
            step=step, num_steps=self._config.steps, task_names=self._task_names, run_directory=self._run_directory
        )
        kind = "started" if restored is None else "resumed"
        self._tell(start)
        for event in (EventRecord(step=step, kind=kind), *events, *(replace(note, step=step) for note in notes)):
            self._tell(event)
        self.model.train()
        if self._recovery is not None:
            self._recovery.begin(self._progress)

    def _loop(self, watch: InterruptWatch) -> None:
        if not self._must_stop(watch) and self._evaluate_if_due():  # what an interrupted run still owed
            self._save()
        while not (self._must_stop(watch) or self._is_complete() or self._evaluations.has_stalled(self._progress)):
            self._step()
            is_best = not self._must_stop(watch) and self._evaluate_if_due()
            step = self._progress.step  # 0 where the run has gone back to its beginning: nothing is learned there
            if is_best or (step and step % self._config.checkpoint_interval == 0):
                self._save()

    def _must_stop(self, watch: InterruptWatch) -> bool:
        return self._ranks.any(watch.is_requested)

    def _end(self, watch: InterruptWatch) -> FitResult:
        progress = self._progress
        self._tell_of_saves(wait=True)
        if self._ranks.any(not self._saver.has(progress.step)):
            self._save(must_succeed=True)
        signal_number = self._ranks.largest(watch.signal_number or 0)
        is_interrupted = signal_number > 0 and not self._is_complete()
        best_step = self._saver.best_step(progress)
        result = FitResult(
            steps=progress.step,
            seconds=progress.seconds,
            stopped_by="interrupt" if is_interrupted else "completed" if self._is_complete() else "early_stop",
            last_checkpoint=self._saver.path(progress.step),
            best_checkpoint=self._saver.path(best_step),
            best_step=best_step,
            best_score=progress.best_score,
            signal_number=signal_number if is_interrupted else None,
        )
        self._tell(result)
        return result

    def _step(self) -> None:
        with self._ranks.watched_step():
            taken = self._stepper.step(self._progress, watch=self._watch)
        self._tell(taken.record)
        self._tell_of_saves()
        remedies = self._look_after(taken)
        if not taken.result.is_applied:
            self._note_skip(taken)
        for remedy in remedies:
            self._apply(remedy)

    def _look_after(self, taken: StepTaken) -> list[Remedy]:
        """Let the watch see what a step did; tell what it says, and return what it asks for."""
        if self._watch is None or self._recovery is None:
            return []
        remedies = self._watch.after_step(taken.record, input_seconds=taken.input_seconds)
        self._tell_of_health(self._watch)
        if taken.result.is_applied:
            self._recovery.after_step(self._progress)
        return remedies

    def _apply(self, remedy: Remedy) -> None:
        """Do what the watch asks for.

        Raises: DivergedError or DataError where it asks for an end.
        """
        match remedy:
            case Rewind() if self._recovery is not None:
                self._progress, event = self._recovery.rewind(self._progress, remedy)
                self._tell(event)
            case ShrinkScores():
                shrink_scores(self.model, remedy.layer, factor=remedy.factor)
                detail = {"where": remedy.layer, "factor": remedy.factor}
                self._tell(EventRecord(step=self._progress.step, kind="scores_shrunk", detail=detail))
            case LowerRate():
                self._progress.learning_rate_scale *= remedy.rate_factor
                detail = {"reason": remedy.reason, "learning_rate_scale": self._progress.learning_rate_scale}
                self._tell(EventRecord(step=self._progress.step, kind="rate_lowered", detail=detail))
            case Stop():
                self._tell(EventRecord(step=self._progress.step, kind="stopped", detail={"reason": remedy.reason}))
                raise (DataError if remedy.is_data else DivergedError)(remedy.reason, hint=remedy.hint)

    def _note_skip(self, taken: StepTaken) -> None:
        """Report an update that was not made, and end the run if the model keeps failing."""
        progress, result = self._progress, taken.result
        signal = result.verdict.signal
        detail = {"signal": signal, "loss": str(result.loss), "grad_norm": str(result.grad_norm), "data": taken.place}
        self._tell(EventRecord(step=progress.step, kind="step_skipped", detail=detail))
        if signal not in UNSOUND:
            return
        recent = [step for step in progress.skipped_steps if step > progress.step - SKIP_WINDOW]
        progress.skipped_steps = [*recent, progress.step]
        if len(progress.skipped_steps) >= MAX_SKIPPED:
            saved = f"last good checkpoint: {self._run_directory / 'last'}"
            reason = (
                f"{MAX_SKIPPED} of the last {SKIP_WINDOW} updates could not be made: the loss or the gradient was not "
                f"finite, or far from all before; the run stopped at step {progress.step}."
            )
            hint = f"lower optimizer.learning_rate and optimizer.matrix_learning_rate; {saved}"
            self._apply(Stop(reason=reason, hint=hint))

    def _tell_of_health(self, watch: HealthWatch) -> None:
        for event in watch.take_events():
            self._tell(event)

    def _evaluate_if_due(self) -> bool:
        """Score the model if it is time, and return whether it is the best so far."""
        if not self._evaluations.is_owed(self._progress):
            return False
        with self._optimizer.averaged():
            record = self._evaluations.score(self.model, self._progress)
        self._tell(record)
        if self._watch is not None:
            self._watch.after_evaluation(record)
            self._tell_of_health(self._watch)
        return record.is_best

    def _is_complete(self) -> bool:
        return self._progress.step >= self._config.steps and not self._evaluations.is_owed(self._progress)

    def _save(self, *, must_succeed: bool = False) -> None:
        self._progress.health = {} if self._watch is None else self._watch.state()
        progress, place = self._progress, self._loader.state()
        for record in self._saver.save(progress, loader_state=place, must_succeed=must_succeed):
            self._tell(record)

    def _tell_of_saves(self, *, wait: bool = False) -> None:
        for record in self._saver.finished(self._progress, wait=wait):
            self._tell(record)

    def _tell(self, record: Record) -> None:
        tell(self._callbacks, record)


def _monitor_of(
    model: nn.Module, loss_function: LossFunction, *, config: TrainConfig, num_tasks: int, ranks: Ranks
) -> ConflictMonitor | None:
    """Return what looks for conflicts of the tasks, with a loss that is not compiled: its batches differ in size."""
    if ranks.world_size > 1:  # each has but its share of a batch, and perhaps of the weights
        return None
    return ConflictMonitor(model, loss_function=loss_function, num_tasks=num_tasks, every=config.conflicts_every)


def _optimizer_of(
    model: nn.Module, optimizer: OptimizerConfig, *, config: TrainConfig, layer_rates: LayerRates | None, ranks: Ranks
) -> ModelOptimizer:
    """Return what moves the weights, each layer at its rate, with their average beside them where one is kept."""
    built = ranks.optimizer_of(model, optimizer)
    if layer_rates is not None:
        built.differ_by_layer(layer_rates)
    if config.average is not None:
        built.keep_average(config.average, num_steps=config.steps)
    return built


def _saver_of(
    parts: StepParts,
    run_directory: Path,
    *,
    weight_files: WeightFiles,
    settings: Mapping[str, Any],
    sidecars: Mapping[str, bytes],
) -> RunSaver:
    """Return what saves the run."""
    saved = SavedParts(
        model=parts.model,
        optimizer=parts.optimizer,
        division=parts.ranks.division_of(parts.model, parts.optimizer),
        weight_files=weight_files,
        settings=settings,
        sidecars=sidecars,
    )
    config = parts.config
    return RunSaver(
        run_directory,
        parts=saved,
        keep=config.keep_checkpoints,
        ranks=parts.ranks,
        in_background=config.background_saves,
    )


def _files_of(model: nn.Module, run_directory: Path, *, log_every: int) -> tuple[Callback, ...]:
    """Return the files that every run writes down what happens in."""
    return (
        EventsFile(run_directory),
        MetricsFile(run_directory, log_every=log_every),
        TensorBoard(run_directory, log_every=log_every),
        LossPlot(run_directory, unit="nats" if isinstance(model, Transformer) else ""),
    )


def _shape_of(model: nn.Module, task_heads: Sequence[HeadSpec | None]) -> DataShape | None:
    if not isinstance(model, Transformer):
        return None
    return DataShape(
        vocab_size=model.config.vocab_size,
        first_image_id=model.config.text_vocab_size,
        is_word_task=tuple(head is None for head in task_heads),
    )
