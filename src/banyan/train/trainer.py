"""The loop around the step: it learns, evaluates, saves, stops when asked to, and goes on exactly where it stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from banyan.core.config import config_to_mapping
from banyan.core.errors import DivergedError
from banyan.core.locks import hold_directory
from banyan.core.types import HeadSpec
from banyan.data.batch import BatchLoader
from banyan.model.transformer import Transformer
from banyan.train.balance import TaskBalance, default_balance
from banyan.train.callbacks import (
    Callback,
    EvaluationRecord,
    EventRecord,
    FitResult,
    Record,
    RunStart,
    StepRecord,
    tell,
)
from banyan.train.config import TrainConfig
from banyan.train.interrupt import InterruptWatch
from banyan.train.loss_plot import LossPlot
from banyan.train.losses import joint_loss
from banyan.train.memory import explained_memory_errors, keep_freed_memory
from banyan.train.optimizer import OptimizerConfig, build_optimizer
from banyan.train.parallel import device_of, in_precision
from banyan.train.run_files import EventsFile, MetricsFile, TensorBoard
from banyan.train.saver import RunSaver, SavedParts
from banyan.train.schedule import ScheduleConfig, learning_rate_factor
from banyan.train.state import Progress, TransformerFiles, WeightFiles
from banyan.train.step import LossFunction, StepResult, train_step

MAX_SKIPPED, SKIP_WINDOW = 10, 100  # so many steps that are not finite, among so many, end a run
Evaluator = Callable[[Any, int], Mapping[str, Any]]  # (model, step) → {"score": higher is better, …}


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
    ) -> None:
        self.model = model
        self._loader = loader
        self._task_names = tuple(task_names)
        self._config = config
        self._schedule = schedule
        self._optimizer_config = optimizer
        self._run_directory = run_directory
        self._evaluator = evaluator
        self._seed = seed
        self._balance = balance or default_balance(cast(Transformer, model), task_heads)
        loss_function = loss_function or partial(joint_loss, task_heads=tuple(task_heads))
        self._loss_function = in_precision(loss_function, model=model, precision=config.precision)
        self._optimizer = build_optimizer(model, optimizer)
        self._progress = Progress()
        settings = {"train": config, "optimizer": optimizer, "schedule": schedule, "seed": seed}
        parts = SavedParts(
            model=model,
            optimizer=self._optimizer,
            weight_files=weight_files or TransformerFiles(),
            settings=config_to_mapping(settings),
            sidecars=sidecars or {},
        )
        self._saver = RunSaver(run_directory, parts=parts, keep=config.keep_checkpoints)
        self._callbacks: tuple[Callback, ...] = (
            EventsFile(run_directory),
            MetricsFile(run_directory, log_every=config.log_every),
            TensorBoard(run_directory, log_every=config.log_every),
            LossPlot(run_directory),
            *callbacks,
        )

    def fit(self, *, resume: bool = False) -> FitResult:
        """Train until the last step, an early stop, or a signal; then save and say how it ended.

        With `resume` the run goes on from its newest valid checkpoint, or begins if it never saved.
        Raises: BusyError if another process trains here; SpaceError if nothing can be written; CheckpointError if no
        checkpoint can be used; DataError; DivergedError; MemoryLimitError.
        """
        device = device_of(self.model)
        devices = [device] if device.type == "cuda" else []
        keep_freed_memory()
        with hold_directory(self._run_directory), InterruptWatch() as watch, torch.random.fork_rng(devices=devices):
            try:
                self._begin(resume=resume)
                self._loop(watch)
                return self._end(watch)
            finally:
                for callback in self._callbacks:
                    callback.close()

    def _begin(self, *, resume: bool) -> None:
        restored, events = self._saver.restore() if resume else self._saver.check_fresh()
        if restored is not None:
            self._progress = restored.progress
            self._loader.restore(restored.loader_state)
        step = self._progress.step
        start = RunStart(
            step=step, num_steps=self._config.steps, task_names=self._task_names, run_directory=self._run_directory
        )
        kind = "started" if restored is None else "resumed"
        self._tell(start)
        for event in (EventRecord(step=step, kind=kind), *events):
            self._tell(event)
        self.model.train()

    def _loop(self, watch: InterruptWatch) -> None:
        if not watch.is_requested and self._evaluate_if_due():  # what an interrupted run still owed
            self._save()
        while not (watch.is_requested or self._is_complete() or self._has_stalled()):
            self._step()
            is_best = not watch.is_requested and self._evaluate_if_due()
            if is_best or self._progress.step % self._config.checkpoint_interval == 0:
                self._save()

    def _end(self, watch: InterruptWatch) -> FitResult:
        progress = self._progress
        if not self._saver.has(progress.step):
            self._save(must_succeed=True)
        is_interrupted = watch.is_requested and not self._is_complete()
        best_step = self._saver.best_step(progress)
        result = FitResult(
            steps=progress.step,
            seconds=progress.seconds,
            stopped_by="interrupt" if is_interrupted else "completed" if self._is_complete() else "early_stop",
            last_checkpoint=self._saver.path(progress.step),
            best_checkpoint=self._saver.path(best_step),
            best_step=best_step,
            best_score=progress.best_score,
            signal_number=watch.signal_number if is_interrupted else None,
        )
        self._tell(result)
        return result

    def _step(self) -> None:
        """Do one step, with everything random in it drawn from the seed and the step's number."""
        progress, config = self._progress, self._config
        step = progress.step + 1
        factor = learning_rate_factor(step, num_steps=config.steps, schedule=self._schedule)
        place = self._loader.state()
        started = time.perf_counter()
        torch.manual_seed(step_seed(self._seed, step))
        self._optimizer.scale_learning_rates(factor)
        with explained_memory_errors(micro_batch_seqs=config.micro_batch_seqs, seq_len=config.seq_len):
            result = train_step(
                self.model,
                self._loader.next_batch(),
                optimizer=self._optimizer,
                loss_function=self._loss_function,
                balance=self._balance,
                accumulation_steps=config.accumulation_steps,
                clip_norm=config.clip_norm,
            )
        seconds = time.perf_counter() - started
        progress.step = step
        progress.seconds += seconds
        progress.num_tokens += result.num_tokens
        self._tell(self._record(result, seconds=seconds, learning_rate=self._optimizer_config.learning_rate * factor))
        if not result.is_applied:
            self._note_skip(result, place)

    def _record(self, result: StepResult, *, seconds: float, learning_rate: float) -> StepRecord:
        losses = zip(self._task_names, result.task_losses, strict=True)
        return StepRecord(
            step=self._progress.step,
            num_steps=self._config.steps,
            loss=result.loss,
            task_losses={name: loss for name, loss in losses if not math.isnan(loss)},
            learning_rate=learning_rate,
            grad_norm=result.grad_norm,
            num_tokens=result.num_tokens,
            tokens_per_second=result.num_tokens / seconds,
            seconds=self._progress.seconds,
            is_applied=result.is_applied,
            step_seconds=seconds,
        )

    def _note_skip(self, result: StepResult, place: Mapping[str, Any]) -> None:
        """Report a step that was not finite, and end the run if there are too many of them."""
        progress = self._progress
        detail = {"loss": str(result.loss), "grad_norm": str(result.grad_norm), "data": place}
        self._tell(EventRecord(step=progress.step, kind="step_skipped", detail=detail))
        recent = [step for step in progress.skipped_steps if step > progress.step - SKIP_WINDOW]
        progress.skipped_steps = [*recent, progress.step]
        if len(progress.skipped_steps) >= MAX_SKIPPED:
            saved = f"last good checkpoint: {self._run_directory / 'last'}"
            raise DivergedError(
                f"loss or gradient was not finite in {MAX_SKIPPED} of the last {SKIP_WINDOW} steps; the run stopped at "
                f"step {progress.step}.",
                hint=f"lower optimizer.learning_rate and optimizer.matrix_learning_rate; {saved}",
            )

    def _evaluate_if_due(self) -> bool:
        """Score the model if it is time, and return whether it is the best so far."""
        progress = self._progress
        if self._evaluator is None or not self._owes_evaluation():
            return False
        started = time.perf_counter()
        self.model.eval()
        metrics = self._evaluator(self.model, progress.step)
        self.model.train()
        score = float(metrics["score"])
        is_best = math.isfinite(score) and (progress.best_score is None or score > progress.best_score)
        progress.evaluated_step = progress.step
        progress.evaluations_without_gain = 0 if is_best else progress.evaluations_without_gain + 1
        if is_best:
            progress.best_step, progress.best_score = progress.step, score
        seconds = time.perf_counter() - started
        record = EvaluationRecord(step=progress.step, score=score, metrics=metrics, is_best=is_best, seconds=seconds)
        self._tell(record)
        return is_best

    def _owes_evaluation(self) -> bool:
        step = self._progress.step
        is_due = step > 0 and (step % self._config.evaluation_interval == 0 or step >= self._config.steps)
        return self._evaluator is not None and is_due and self._progress.evaluated_step != step

    def _is_complete(self) -> bool:
        return self._progress.step >= self._config.steps and not self._owes_evaluation()

    def _has_stalled(self) -> bool:
        patience = self._config.early_stop_patience
        return patience is not None and self._progress.evaluations_without_gain >= patience

    def _save(self, *, must_succeed: bool = False) -> None:
        self._tell(self._saver.save(self._progress, loader_state=self._loader.state(), must_succeed=must_succeed))

    def _tell(self, record: Record) -> None:
        tell(self._callbacks, record)


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one step's dropout; neighbours share nothing."""
    return int.from_bytes(blake2b(f"{seed}/{step}".encode(), digest_size=8).digest(), "little") >> 1
