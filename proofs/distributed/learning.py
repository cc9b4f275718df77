"""A tiny model in training, however many ranks divide the work, and how far two trainings are from each other."""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import torch

from banyan.core.process import ProcessPlace
from banyan.testing.training import HEADS, tiny_learner, tiny_loader
from banyan.train.balance import default_balance
from banyan.train.distributed.config import ShardedCheckpoints
from banyan.train.distributed.heartbeat import Heartbeat
from banyan.train.distributed.world import ProcessRanks
from banyan.train.losses import joint_loss
from banyan.train.optimizer import OptimizerConfig
from banyan.train.ranks import ALONE, Ranks
from banyan.train.step import train_step

STEPS = 50
OPTIMIZERS = ("muon", "adamw")
LIMITS = {"float64": 1e-9, "float32": 1e-4}  # relative difference of losses and gradient norms
Sizes: TypeAlias = tuple[int, int, int]  # ranks along data, shard and tensor
Course: TypeAlias = list[tuple[float, float]]  # loss and gradient norm of each step


class Learning:
    """The tiny model of three tasks, eleven rows a step in two micro-batches of unequal shares."""

    def __init__(self, ranks: Ranks, *, precision: str, optimizer: str) -> None:
        model = tiny_learner(num_kv_heads=4, dropout=0.1)
        self.model = model.double() if precision == "float64" else model
        self.balance, self.loader = default_balance(self.model, HEADS), tiny_loader(rows_per_batch=11)
        self.ranks = ranks
        ranks.divide(self.model)
        self.optimizer = ranks.optimizer_of(self.model, OptimizerConfig(name=optimizer))  # type: ignore[arg-type]
        self.division = ranks.division_of(self.model, self.optimizer)
        self.num_steps = 0

    def run(self, num_steps: int) -> Course:
        """Make so many more steps."""
        return [self._step() for _ in range(num_steps)]

    def _step(self) -> tuple[float, float]:
        self.num_steps += 1
        self.optimizer.prepare_step(self.num_steps, rate_factor=1.0)
        result = train_step(
            self.model,
            self.loader.next_batch(),
            optimizer=self.optimizer,
            loss_function=partial(joint_loss, task_heads=HEADS),
            balance=self.balance,
            accumulation_steps=2,
            ranks=self.ranks,
        )
        return result.loss, result.grad_norm


def ranks_of(place: ProcessPlace, sizes: Sizes, *, sharded_checkpoints: ShardedCheckpoints = "auto") -> Ranks:
    """Return the ranks of a layout; of one process alone where there is no other."""
    if place.world_size == 1:
        return ALONE
    return ProcessRanks(
        place,
        sizes=sizes,
        device=torch.device("cpu"),
        heartbeat=Heartbeat(None, rank=place.rank),
        sharded_checkpoints=sharded_checkpoints,
    )


def largest_difference(expected: Course, found: Course) -> float:
    """Relative, over the losses and gradient norms of all steps."""
    pairs = [pair for x, y in zip(expected, found, strict=True) for pair in zip(x, y, strict=True)]
    return max(abs(a - b) / abs(a) for a, b in pairs)
