"""The loop around the step: it learns, evaluates, saves, stops when asked to, and goes on exactly where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from banyan.core.errors import DataError, DivergedError, SpaceError
from banyan.core.locks import hold_directory
from banyan.core.types import HeadSpec
from banyan.data.batch import BatchLoader
from banyan.train.balance import TaskBalance
from banyan.train.callbacks import Callback, EventRecord, FitResult, Record, RunStart, tell
from banyan.train.config import TrainConfig
from banyan.train.evaluations import Evaluations, EvaluationStopped, Evaluator
from banyan.train.health.watch import HealthWatch
from banyan.train.interrupt import InterruptWatch
from banyan.train.layer_rates import LayerRates
from banyan.train.memory import settle_freed_memory
from banyan.train.optimizer import OptimizerConfig
from banyan.train.precision import device_of
from banyan.train.ranks import ALONE, Ranks
from banyan.train.remedies import LowerRate, Remedy, Rewind, ShrinkScores, Stop
from banyan.train.run_parts import RunSettings, run_files, run_saver, run_watch, step_parts
from banyan.train.schedule import ScheduleConfig
from banyan.train.score_bound import shrink_scores
from banyan.train.skips import note_skip
from banyan.train.state import Progress, TransformerFiles, WeightFiles, readable_state
from banyan.train.step import LossFunction
from banyan.train.stepper import Stepper, StepTaken


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
        self._config = config
        self._task_names = tuple(task_names)
        self._run_directory = run_directory
        self._evaluations = Evaluations(evaluator, config=config)
        self._progress = Progress()
        self._ranks = ranks
        settings = RunSettings(train=config, optimizer=optimizer, schedule=schedule, seed=seed)
        parts = step_parts(
            model,
            settings,
            loader=loader,
            task_names=task_names,
            task_heads=task_heads,
            balance=balance,
            loss_function=loss_function,
            layer_rates=layer_rates,
            ranks=ranks,
        )
        self._optimizer = parts.optimizer
        self._stepper = Stepper(parts)
        self._batches = self._stepper.batches
        files = weight_files or TransformerFiles()
        self._saver = run_saver(parts, settings, run_directory, weight_files=files, sidecars=sidecars or {})
        written = run_files(model, run_directory, log_every=config.log_every)
        self._callbacks: tuple[Callback, ...] = (*written, *callbacks) if ranks.is_main else ()
        self._watch, self._recovery = run_watch(
            parts, self._stepper, self._saver, task_heads=task_heads, layer_rates=layer_rates
        )

    def fit(
        self,
        *,
        resume: bool = False,
        holds_lock: bool = False,
        restart_data: bool = False,
        notes: Sequence[EventRecord] = (),
        interrupt: InterruptWatch | None = None,
    ) -> FitResult:
        """Train until the last step, an early stop, or a signal; then save and say how it ended.

        With `resume` the run goes on from its newest valid checkpoint, or begins if it never saved. `holds_lock` says
        that the caller has the run directory for itself already, `restart_data` that the stream of data is another one
        than before and begins at its front; `notes` are events to tell when the run begins. `interrupt` notes the
        signals: bring one along that the evaluator sees, too, and an evaluation need not be waited for.
        Raises: BusyError if another process trains here; SpaceError if nothing can be written; CheckpointError if no
        checkpoint can be used; DataError; DivergedError; MemoryLimitError.
        """
        device = device_of(self.model)
        devices = [device] if device.type == "cuda" else []
        settle_freed_memory(is_kept=not self._config.low_memory)
        lock = nullcontext() if holds_lock or not self._ranks.is_main else hold_directory(self._run_directory)
        with lock, interrupt or InterruptWatch() as watch, torch.random.fork_rng(devices=devices):
            try:
                self._begin(notes, resume=resume, restart_data=restart_data)
                self._loop(watch)
                return self._end(watch)
            finally:
                self._batches.close()
                with suppress(SpaceError):  # whatever ended the run counts more
                    self._tell_of_saves(wait=True)
                for callback in self._callbacks:
                    callback.close()

    def _begin(self, notes: Sequence[EventRecord], *, resume: bool, restart_data: bool) -> None:
        if self._recovery is not None:
            self._recovery.remember_beginning()
        restored, events = self._saver.restore() if resume else self._saver.check_fresh()
        if restored is not None:
            self._progress = restored.progress
            with readable_state():
                if not restart_data:
                    self._batches.restore(restored.loader_state)
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

    def _loop(self, watch: InterruptWatch) -> None:
        if self._evaluations.is_owed(self._progress) and not self._must_stop(watch):  # by an interrupted run
            self._evaluate_if_due()
            if not self._evaluations.is_owed(self._progress):  # not stopped once more
                self._save()  # also where it is not the best: the run may go back to here, and must then know of it
        while not (self._must_stop(watch) or self._is_complete() or self._evaluations.has_stalled(self._progress)):
            self._step()
            is_best = not self._must_stop(watch) and self._evaluate_if_due()
            if is_best or self._config.is_regular(self._progress.step):
                self._save()

    def _must_stop(self, watch: InterruptWatch) -> bool:
        return self._ranks.any(watch.is_requested)

    def _end(self, watch: InterruptWatch) -> FitResult:
        progress = self._progress
        self._batches.call_off()
        self._tell_of_saves(wait=True)
        if not self._ranks.from_main(lambda: self._saver.has(progress.step)):  # it has waited for its writer
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
        if self._watch is None:
            return []
        remedies = self._watch.after_step(taken.record, input_seconds=taken.input_seconds)
        self._tell_of_health(self._watch)
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
        """Tell of an update that was not made, and end the run if the model keeps failing."""
        event, end = note_skip(taken, self._progress, run_directory=self._run_directory)
        self._tell(event)
        if end is not None:
            self._apply(end)

    def _tell_of_health(self, watch: HealthWatch) -> None:
        for event in watch.take_events():
            self._tell(event)

    def _evaluate_if_due(self) -> bool:
        """Score the model if it is time, and return whether it is the best so far; what was stopped stays owed."""
        if not self._evaluations.is_owed(self._progress):
            return False
        self._batches.call_off()  # whoever hears the scores may change what is drawn next
        try:
            with self._optimizer.averaged():
                record = self._evaluations.score(self.model, self._progress)
        except EvaluationStopped:
            self._tell(EventRecord(step=self._progress.step, kind="evaluation_stopped"))
            return False
        self._tell(record)
        if self._watch is not None:
            self._watch.after_evaluation(record)
            self._tell_of_health(self._watch)
        return record.is_best

    def _is_complete(self) -> bool:
        return self._progress.step >= self._config.steps and not self._evaluations.is_owed(self._progress)

    def _save(self, *, must_succeed: bool = False) -> None:
        self._progress.health = {} if self._watch is None else self._watch.state()
        progress, place = self._progress, self._batches.place()
        for record in self._saver.save(progress, loader_state=place, must_succeed=must_succeed):
            self._tell(record)

    def _tell_of_saves(self, *, wait: bool = False) -> None:
        for record in self._saver.finished(self._progress, wait=wait):
            self._tell(record)

    def _tell(self, record: Record) -> None:
        tell(self._callbacks, record)
