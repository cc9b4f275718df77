"""The steps of a run, one by one: everything random in each is drawn from the seed and the step's number."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from torch import nn

from banyan.data.batch import BatchLoader, TrainableBatch
from banyan.train.balance import TaskBalance
from banyan.train.callbacks import StepRecord
from banyan.train.config import TrainConfig
from banyan.train.memory import explained_memory_errors
from banyan.train.optimizer import ModelOptimizer
from banyan.train.ranks import ALONE, Ranks
from banyan.train.schedule import ScheduleConfig, learning_rate_factor
from banyan.train.state import Progress
from banyan.train.step import Judge, LossFunction, StepResult, apply_if_finite, train_step


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


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTaken:
    """One step, and what it was made from."""

    record: StepRecord
    result: StepResult
    batch: TrainableBatch
    place: Mapping[str, Any]  # of the loader, before it gave the batch


class Stepper:
    """Takes the next step of a run."""

    def __init__(self, parts: StepParts) -> None:
        self._parts = parts

    def step(self, progress: Progress, *, judge: Judge = apply_if_finite) -> StepTaken:
        """Draw the next batch, learn from it if the judge agrees, and count the step.

        Raises: DataError; MemoryLimitError.
        """
        parts, config = self._parts, self._parts.config
        step = progress.step + 1
        factor = self._rate_factor(step, progress)
        place = parts.loader.state()
        started = time.perf_counter()
        torch.manual_seed(step_seed(parts.seed, step))
        parts.optimizer.prepare_step(step, rate_factor=factor)
        with explained_memory_errors(micro_batch_seqs=config.micro_batch_seqs, seq_len=config.seq_len):
            batch = parts.loader.next_batch()
            result = train_step(
                parts.model,
                batch,
                optimizer=parts.optimizer,
                loss_function=parts.loss_function,
                balance=parts.balance,
                accumulation_steps=config.accumulation_steps,
                clip_norm=config.clip_norm,
                ranks=parts.ranks,
                judge=judge,
            )
        seconds = time.perf_counter() - started
        progress.step = step
        progress.seconds += seconds
        progress.num_tokens += result.num_tokens
        record = self._record(result, progress, seconds=seconds, factor=factor)
        return StepTaken(record=record, result=result, batch=batch, place=place)

    def _rate_factor(self, step: int, progress: Progress) -> float:
        parts = self._parts
        planned = learning_rate_factor(step, num_steps=parts.config.steps, schedule=parts.schedule)
        return planned * progress.learning_rate_scale

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


def named_losses(task_names: Sequence[str], task_losses: Sequence[float]) -> dict[str, float]:
    """Return the loss of every task that was present."""
    return {name: loss for name, loss in zip(task_names, task_losses, strict=True) if not math.isnan(loss)}


def step_seed(seed: int, step: int) -> int:
    """Return the seed of one step's dropout; neighbours share nothing."""
    return int.from_bytes(blake2b(f"{seed}/{step}".encode(), digest_size=8).digest(), "little") >> 1
