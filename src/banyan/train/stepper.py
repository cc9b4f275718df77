"""The steps of a run, one by one: everything random in each is drawn from the seed and the step's number."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any

import torch
from torch import nn

from banyan.data.batch import BatchLoader, TrainableBatch
from banyan.train.backward_update import BackwardUpdate
from banyan.train.balance import TaskBalance
from banyan.train.balance_methods import BalanceMethod, Equal
from banyan.train.callbacks import StepRecord
from banyan.train.config import TrainConfig
from banyan.train.conflicts import ConflictMonitor
from banyan.train.grouped_step import grouped_step
from banyan.train.health.watch import HealthWatch
from banyan.train.lean_step import lean_step
from banyan.train.memory import FreedMemory, explained_memory_errors
from banyan.train.optimizer import ModelOptimizer
from banyan.train.precision import device_of
from banyan.train.prefetch import step_batches
from banyan.train.ramps import shape_at
from banyan.train.ranks import ALONE, Ranks
from banyan.train.schedule import ScheduleConfig, learning_rate_factor
from banyan.train.state import Progress
from banyan.train.step import Judge, LossFunction, StepResult, Verdict, apply_if_finite, train_step


@dataclass(frozen=True, kw_only=True, slots=True)
class StepParts:
    """What every step of a run is made with."""

    model: nn.Module
    loader: BatchLoader
    optimizer: ModelOptimizer
    loss_function: LossFunction
    balance: TaskBalance
    config: TrainConfig
    schedule: ScheduleConfig
    learning_rate: float  # peak, of AdamW; what a record names
    task_names: tuple[str, ...]
    seed: int
    ranks: Ranks = ALONE
    update: BackwardUpdate | None = None  # None: weights move after the backward pass
    balance_method: BalanceMethod = field(default_factory=Equal)
    task_groups: tuple[tuple[int, ...], ...] | None = None  # tasks that share a gradient; None: all of them
    conflicts: ConflictMonitor | None = None  # None: nobody looks


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTaken:
    """One step, and what it was made from."""

    record: StepRecord
    result: StepResult
    batch: TrainableBatch
    place: Mapping[str, Any]  # of the loader, before it gave the batch
    input_seconds: float  # waited for the batch


class Stepper:
    """Takes the next step of a run."""

    def __init__(self, parts: StepParts) -> None:
        self._parts = parts
        self._freed = FreedMemory()
        self.batches = step_batches(
            parts.loader,
            partial(_next_batch, parts),
            prefetch=parts.config.prefetch,
            num_steps=parts.config.steps,
            device=device_of(parts.model),
        )

    def step(self, progress: Progress, *, watch: HealthWatch | None = None) -> StepTaken:
        """Draw the next batch, learn from it if the watch agrees, and count the step.

        Raises: DataError; MemoryLimitError.
        """
        parts, config = self._parts, self._parts.config
        step = progress.step + 1
        factor = self._rate_factor(step, progress)
        place = {**self.batches.place(), "step": step}
        started = time.perf_counter()
        self._freed.before_step(drop=parts.optimizer.zero_grad)
        torch.manual_seed(step_seed(parts.seed, step))
        parts.optimizer.prepare_step(step, rate_factor=factor)
        with explained_memory_errors(micro_batch_seqs=config.micro_batch_seqs, seq_len=config.seq_len):
            batch = self.batches.take(step)
            drawn = time.perf_counter()
            result = self._learn(batch, progress, step=step, place=place, watch=watch)
            cosines = self._look_for_conflicts(batch, progress, step=step) if result.is_applied else None
        seconds = time.perf_counter() - started
        self._freed.after_step(step_seconds=seconds)
        progress.step = step
        progress.seconds += seconds
        progress.num_tokens += result.num_tokens
        record = replace(self._record(result, progress, seconds=seconds, factor=factor), task_cosines=cosines)
        return StepTaken(record=record, result=result, batch=batch, place=place, input_seconds=drawn - started)

    def _learn(
        self,
        batch: TrainableBatch,
        progress: Progress,
        *,
        step: int,
        place: Mapping[str, Any],
        watch: HealthWatch | None,
    ) -> StepResult:
        parts = self._parts
        verdict = Verdict() if watch is None else watch.inspect(batch, step=step, place=place)
        if verdict.update_scale == 0:
            return _kept_out(batch, verdict, num_tasks=parts.balance.num_tasks)
        judge = apply_if_finite if watch is None else watch.judge
        if parts.task_groups is not None:
            return self._learn_in_groups(batch, progress, groups=parts.task_groups, step=step, judge=judge)
        is_present = (batch.weights_by_task(parts.balance.num_tasks) > 0).tolist()
        emphasis = parts.balance_method.emphasis(progress.balance, is_present=is_present)
        loss_function = parts.loss_function
        if watch is not None and parts.ranks.world_size == 1:  # of several, each sees but its share of a gradient
            loss_function = watch.listening(loss_function, step=step)
        if parts.update is not None:
            result = lean_step(
                parts.model,
                batch,
                update=parts.update,
                optimizer=parts.optimizer,
                loss_function=loss_function,
                balance=parts.balance,
                emphasis=emphasis,
                judge=judge,
            )
        else:
            result = train_step(
                parts.model,
                batch,
                optimizer=parts.optimizer,
                loss_function=loss_function,
                balance=parts.balance,
                emphasis=emphasis,
                accumulation_steps=shape_at(step, parts.config).accumulation_steps,
                clip_norm=parts.config.clip_norm,
                ranks=parts.ranks,
                judge=judge,
            )
        if result.is_applied:
            self._rebalance(batch, result, progress)
        return result

    def _learn_in_groups(
        self, batch: TrainableBatch, progress: Progress, *, groups: Sequence[Sequence[int]], step: int, judge: Judge
    ) -> StepResult:
        parts = self._parts
        result, norms = grouped_step(
            parts.model,
            batch,
            groups=groups,
            norms=progress.balance.get("norms", [None] * len(groups)),
            smoothing=parts.config.balance.smoothing,
            optimizer=parts.optimizer,
            loss_function=parts.loss_function,
            balance=parts.balance,
            accumulation_steps=shape_at(step, parts.config).accumulation_steps,
            clip_norm=parts.config.clip_norm,
            judge=judge,
        )
        progress.balance = {"norms": norms}
        return result

    def _rebalance(self, batch: TrainableBatch, result: StepResult, progress: Progress) -> None:
        """Let the balance learn from a step that was made."""
        method = self._parts.balance_method
        later = self._mean_losses(batch) if method.looks_twice else None  # with the same dropout as before
        progress.balance = method.learned(progress.balance, losses=result.task_losses, later_losses=later)

    def _look_for_conflicts(
        self, batch: TrainableBatch, progress: Progress, *, step: int
    ) -> Mapping[str, float] | None:
        """Return the cosines of all pairs of tasks that have been seen together, if it is time."""
        monitor, names = self._parts.conflicts, self._parts.task_names
        if monitor is None or not monitor.is_due(step):
            return None
        num_parts = shape_at(step, self._parts.config).accumulation_steps
        progress.task_cosines = monitor.measured(batch, progress.task_cosines, num_parts=num_parts)
        pairs = ((a, b) for a in range(len(names)) for b in range(a + 1, len(names)))
        means = {f"{names[a]} / {names[b]}": progress.task_cosines[a][b] for a, b in pairs}
        return {pair: mean for pair, mean in means.items() if mean is not None}

    def losses_of(self, batch: TrainableBatch) -> tuple[float, ...]:
        """Return the mean loss of each task in nats with the weights as they are; NaN for one that is not there."""
        self._parts.model.eval()
        losses = self._mean_losses(batch)
        self._parts.model.train()
        return losses

    def _mean_losses(self, batch: TrainableBatch) -> tuple[float, ...]:
        parts = self._parts
        weight_sums = batch.weights_by_task(parts.balance.num_tasks)
        with torch.no_grad():
            sums = [
                parts.ranks.own_losses(parts.loss_function, parts.model, micro_batch).loss_sums
                for micro_batch in batch.split(parts.config.accumulation_steps)
                if micro_batch.num_targets
            ]
        totals = parts.ranks.sum(torch.stack(sums).sum(dim=0)).tolist()
        return tuple(
            total / weight if weight else math.nan for total, weight in zip(totals, weight_sums.tolist(), strict=True)
        )

    def redraw(self, place: Mapping[str, Any]) -> TrainableBatch:
        """Return the batch at an earlier place of the data; the stream goes on where it stands."""
        return self.batches.redraw(place)

    def _rate_factor(self, step: int, progress: Progress) -> float:
        parts = self._parts
        planned = learning_rate_factor(step, num_steps=parts.config.steps, schedule=parts.schedule)
        return planned * progress.learning_rate_scale * shape_at(step, parts.config).rate_scale

    def _record(self, result: StepResult, progress: Progress, *, seconds: float, factor: float) -> StepRecord:
        return StepRecord(
            step=progress.step,
            num_steps=self._parts.config.steps,
            loss=result.loss,
            task_losses=named_losses(self._parts.task_names, result.task_losses),
            learning_rate=self._parts.learning_rate * factor,
            grad_norm=result.grad_norm,
            num_tokens=result.num_tokens,
            tokens_per_second=result.num_tokens / seconds,
            seconds=progress.seconds,
            is_applied=result.is_applied,
            step_seconds=seconds,
        )


def _next_batch(parts: StepParts, step: int) -> TrainableBatch:
    """Return the batch of a step from where the loader stands."""
    shape = shape_at(step, parts.config)
    batch = parts.loader.next_batch(num_rows=shape.num_rows, seq_len=shape.seq_len)
    return batch.with_noise(step_seed(parts.seed, step))


def _kept_out(batch: TrainableBatch, verdict: Verdict, *, num_tasks: int) -> StepResult:
    """Return the result of a step whose batch was not learned from."""
    return StepResult(
        loss=math.nan,
        task_losses=(math.nan,) * num_tasks,
        grad_norm=math.nan,
        num_targets=batch.num_targets,
        num_tokens=batch.num_tokens,
        verdict=verdict,
    )


def named_losses(task_names: Sequence[str], task_losses: Sequence[float]) -> dict[str, float]:
    """Return the loss of every task that was present."""
    return {name: loss for name, loss in zip(task_names, task_losses, strict=True) if not math.isnan(loss)}


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one step's dropout; neighbours share nothing."""
    return int.from_bytes(blake2b(f"{seed}/{step}".encode(), digest_size=8).digest(), "little") >> 1
