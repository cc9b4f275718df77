"""How long a step takes on this machine, found out before a run begins."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import nn

from banyan.core.types import HeadSpec
from banyan.data.batch import BatchLoader
from banyan.model.transformer import Transformer
from banyan.train.backward_update import backward_update
from banyan.train.balance import TaskBalance, default_balance
from banyan.train.config import TrainConfig
from banyan.train.configured_loss import configured_loss
from banyan.train.lean_step import lean_step
from banyan.train.losses import joint_loss
from banyan.train.memory import explained_memory_errors, settle_freed_memory
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer
from banyan.train.precision import device_of
from banyan.train.ranks import ALONE, Ranks
from banyan.train.step import LossFunction, StepResult, train_step

_MOST_STEPS = 50


def measure_step_seconds(
    model: nn.Module,
    *,
    loader: BatchLoader,
    task_heads: Sequence[HeadSpec | None],
    config: TrainConfig,
    optimizer: OptimizerConfig,
    num_steps: int = 5,
    loss_function: LossFunction | None = None,
    balance: TaskBalance | None = None,
    max_seconds: float = 0.0,
    ranks: Ranks = ALONE,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median seconds of a training step, loading included, from a few steps on a throw-away copy.

    It takes `num_steps`, and more of them as far as `max_seconds` allow: what else a machine does comes and goes.
    Model, loader and random numbers are afterwards as they were. The first step, which warms caches, is not counted.
    Raises: MemoryLimitError if a step does not fit into memory; DataError if a batch cannot be learned from.
    """
    settle_freed_memory(is_kept=not config.low_memory)  # as the run will
    trial = copy.deepcopy(model).train()
    trial_optimizer = build_optimizer(trial, optimizer)
    loss_function = loss_function or partial(joint_loss, task_heads=tuple(task_heads))
    loss_function = configured_loss(loss_function, model=trial, config=config, world_size=ranks.world_size)
    step = _step_of(trial, trial_optimizer, config=config, ranks=ranks)
    balance = balance or default_balance(cast(Transformer, trial), task_heads)
    place = loader.state()

    def timed_step() -> float:
        started = clock()
        step(trial, loader.next_batch(), optimizer=trial_optimizer, loss_function=loss_function, balance=balance)
        return clock() - started

    device = device_of(trial)
    devices = [device] if device.type == "cuda" else []
    memory = explained_memory_errors(micro_batch_seqs=config.micro_batch_seqs, seq_len=config.seq_len)
    try:
        with torch.random.fork_rng(devices=devices), memory:
            seconds = [timed_step() for _ in range(num_steps + 1)][1:]
            num_wanted = ranks.from_main(lambda: min(_MOST_STEPS, int(max_seconds / statistics.median(seconds))))
            seconds += [timed_step() for _ in range(num_wanted - num_steps)]
    finally:
        loader.restore(place)
    return ranks.from_main(lambda: statistics.median(seconds))


def _step_of(
    model: nn.Module, optimizer: ModelOptimizer, *, config: TrainConfig, ranks: Ranks
) -> Callable[..., StepResult]:
    """Return the kind of step that the run will make."""
    update = backward_update(model, optimizer, config=config, world_size=ranks.world_size)
    if update is not None:
        return partial(lean_step, update=update)
    return partial(train_step, accumulation_steps=config.accumulation_steps, clip_norm=config.clip_norm, ranks=ranks)
