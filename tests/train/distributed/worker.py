"""What two processes find out together; run by `test_two_processes.py`, which reads what rank 0 writes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from banyan.core.process import process_place
from banyan.model.transformer import Transformer
from banyan.testing.training import HEADS, tiny_batch, tiny_learner, tiny_loader, tiny_trainer
from banyan.train.average import AverageConfig
from banyan.train.balance import default_balance
from banyan.train.callbacks import Callback, CheckpointRecord
from banyan.train.distributed.heartbeat import Heartbeat
from banyan.train.distributed.shards import read_shards
from banyan.train.distributed.world import ProcessRanks
from banyan.train.division import Division, Undivided, WholeState
from banyan.train.evaluations import EvaluationStopped, evaluated_by_main
from banyan.train.interrupt import InterruptWatch
from banyan.train.losses import joint_loss
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig
from banyan.train.ranks import ALONE, Ranks
from banyan.train.step import StepResult, train_step

LAYOUTS = {"data": (2, 1, 1), "shard": (1, 2, 1), "tensor": (1, 1, 2)}
STEPS = 4


class Learner:
    """A tiny model in training, with all that a step needs."""

    def __init__(self, ranks: Ranks, optimizer: OptimizerConfig | None = None, **changes: Any) -> None:
        self.ranks = ranks
        self.model: Transformer = tiny_learner(**changes).double()
        self.balance = default_balance(self.model, HEADS)
        self.loader = tiny_loader(rows_per_batch=7)
        ranks.divide(self.model)
        self.optimizer: ModelOptimizer = ranks.optimizer_of(self.model, optimizer or OptimizerConfig())
        self.num_steps = 0

    def step(self, **changes: Any) -> StepResult:
        self.num_steps += 1
        self.optimizer.prepare_step(self.num_steps, rate_factor=1.0)
        arguments: dict[str, Any] = {
            "optimizer": self.optimizer,
            "loss_function": partial(joint_loss, task_heads=HEADS),
            "balance": self.balance,
            "accumulation_steps": 2,
            "ranks": self.ranks,
        }
        return train_step(self.model, self.loader.next_batch(), **{**arguments, **changes})

    def run(self, num_steps: int = STEPS) -> list[tuple[float, float]]:
        results = [self.step() for _ in range(num_steps)]
        return [(result.loss, result.grad_norm) for result in results]

    def weights(self) -> dict[str, Tensor]:
        """Whole, on rank 0."""
        return {
            name: weight.detach().clone() for name, weight in self.ranks.whole_model(self.model).state_dict().items()
        }

    def division(self) -> Division:
        return self.ranks.division_of(self.model, self.optimizer)


def ranks_of(layout: str, **changes: Any) -> ProcessRanks:
    heartbeat = Heartbeat(None, rank=process_place().rank)
    return ProcessRanks(
        process_place(), sizes=LAYOUTS[layout], device=torch.device("cpu"), heartbeat=heartbeat, **changes
    )


def largest_difference(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> float:
    """Relative, over losses and gradient norms."""
    return max(abs(a - b) / abs(a) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True))


def differences(layout: str) -> dict[str, float]:
    """How far a layout's losses are from those of one process, for other models and optimizers too."""
    untied = {"tie_embeddings": False, "attention_bias": True, "activation": "gelu", "ffn_bias": True}
    variants: dict[str, tuple[OptimizerConfig | None, dict[str, Any]]] = {
        "muon": (None, {}),
        "adamw": (OptimizerConfig(name="adamw"), {}),
        "untied": (None, untied),
    }
    return {
        name: largest_difference(Learner(ALONE, o, **changes).run(), Learner(ranks_of(layout), o, **changes).run())
        for name, (o, changes) in variants.items()
    }


def resumed(layout: str, *, folder: Path, shards: bool, read_alone: bool) -> float:
    """How far a run that was saved by two ranks, and read by two or by one, is from one that was never saved."""
    average = AverageConfig(decay=0.5)
    golden = Learner(ALONE)
    golden.optimizer.keep_average(average, num_steps=9)
    expected = golden.run(STEPS + 2)[STEPS:]
    before = Learner(ranks_of(layout, sharded_checkpoints=shards))
    before.optimizer.keep_average(average, num_steps=9)
    before.run(STEPS)
    after = Learner(ALONE if read_alone else ranks_of(layout, sharded_checkpoints=shards))
    after.optimizer.keep_average(average, num_steps=9)
    after.loader.restore(before.loader.state())
    after.num_steps = STEPS
    _carry_over(before, after, folder=folder)
    return largest_difference(expected, after.run(2))


def _carry_over(before: Learner, after: Learner, *, folder: Path) -> None:
    division = before.division()
    with before.optimizer.averaged():
        writing = division.begin_shards(folder)
        whole = division.gather()
        if writing is not None:
            writing.result()
    dist.barrier()
    into = after.division()
    if writing is not None:
        into.read_shards(folder)
        return
    # As through files: rank 0 alone holds the whole state that it gathered.
    blank = into.blank()
    _share(whole, blank)
    blank.optimizer.after_loading()
    into.take(blank)


def _share(whole: WholeState, blank: WholeState) -> None:
    """Give every rank what rank 0 has gathered."""
    for parameter, target in zip(whole.model.parameters(), blank.model.parameters(), strict=True):
        value = parameter.detach().to("cpu") if dist.get_rank() == 0 else torch.empty(target.shape, dtype=torch.float64)
        dist.broadcast(value, src=0)
        target.data = value
    held: list[Any] = [whole.optimizer.tensors() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(held, src=0)
    blank.optimizer.load_tensors(held[0])


def skipped_together() -> list[bool]:
    """A loss that is not a number on rank 1 alone: is the update left out here, and are the weights as they were?"""
    learner = Learner(ranks_of("data"))
    learner.run(1)
    before = learner.weights()

    def poisoned(model: Any, batch: Any) -> Any:
        losses = joint_loss(model, batch, task_heads=HEADS)
        return replace(losses, loss_sums=losses.loss_sums * torch.nan) if dist.get_rank() == 1 else losses

    result = learner.step(loss_function=poisoned)
    is_same = all(torch.equal(before[name], weight) for name, weight in learner.weights().items())
    return [result.is_applied, is_same]


def rows_without_targets() -> float:
    """A batch in which rank 1 has no target, under FSDP: how far is the loss from that of one process?"""
    batch = tiny_batch(num_rows=4)
    batch = replace(batch, loss_weights=batch.loss_weights * torch.tensor([1.0, 1.0, 0.0, 0.0])[:, None])
    losses = []
    for ranks in (ALONE, ranks_of("shard")):
        learner = Learner(ranks, tie_embeddings=False)
        learner.loader.next_batch = lambda: batch  # type: ignore[method-assign]
        losses.append([(r.loss, r.grad_norm) for r in (learner.step(accumulation_steps=1) for _ in range(2))])
    return largest_difference(*losses)


class Saves(Callback):
    """Remembers which steps were saved, each time."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        self.steps.append(record.step)


def stopped_evaluation(folder: Path) -> dict[str, Any]:
    """A run whose first evaluation is stopped on rank 0: how does it end, and what has it saved?"""
    ranks, watch, saves = ranks_of("data"), InterruptWatch(), Saves()

    def evaluator(model: Any, step: int) -> dict[str, Any]:
        watch.request()
        raise EvaluationStopped

    trainer = tiny_trainer(
        folder,
        train={"evaluate_every": 2, "checkpoint_every": 2},
        evaluator=evaluated_by_main(evaluator, ranks),
        callbacks=[saves],
        ranks=ranks,
    )
    result = trainer.fit(interrupt=watch)
    return {"stopped_by": result.stopped_by, "steps": result.steps, "saved": saves.steps}


def learns_the_same_ahead(folder: Path) -> bool:
    """Whether a run ends with the same weights where each rank draws its batches ahead."""
    weights = []
    for prefetch in (False, True):
        ranks = ranks_of("data")
        trainer = tiny_trainer(folder / str(prefetch), steps=STEPS, train={"prefetch": prefetch}, ranks=ranks)
        trainer.fit()
        weights.append(list(trainer.model.parameters()))
    return not ranks.any(not all(map(torch.equal, *weights)))


def names_in(folder: Path) -> list[str]:
    names: list[str] = []
    read_shards(folder, target=lambda name, size, dtype: names.append(name))  # type: ignore[func-returns-value]
    return names


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    # They meet at a file: a port that was free a moment ago may be taken by now.
    place, meeting = process_place(), f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=place.rank, world_size=place.world_size)
    found: dict[str, Any] = {"differences": {layout: differences(layout) for layout in LAYOUTS}}
    found["resumed"] = {
        f"{layout} {'on' if shards else 'off'} {'alone' if alone else 'same'}": resumed(
            layout, folder=folder / f"{layout}{alone}", shards=shards, read_alone=alone
        )
        for layout, shards, alone in [
            ("shard", False, False), ("shard", True, False), ("shard", True, True),
            ("tensor", True, True), ("tensor", False, True),
        ]
    }  # fmt: skip
    found["skipped"] = skipped_together()
    found["no targets"] = rows_without_targets()
    ranks = ranks_of("data")
    found["shared"] = ranks.from_main(lambda: {"rank": dist.get_rank(), "text": "é", "none": None})
    found["any"] = [ranks.any(dist.get_rank() == 1), ranks.any(False), ranks.largest(5 * dist.get_rank())]
    found["stopped evaluation"] = stopped_evaluation(folder / "stopped")
    found["learns the same ahead"] = learns_the_same_ahead(folder / "ahead")
    found["names"] = names_in(folder / "shardTrue")
    assert isinstance(ALONE.division_of(tiny_learner(), Learner(ALONE).optimizer), Undivided)
    if dist.get_rank() == 0:
        (folder / "found.json").write_text(json.dumps(found), "utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
