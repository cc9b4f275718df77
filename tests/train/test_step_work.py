from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from banyan.testing.peak_memory import peak_tensor_bytes
from banyan.testing.training import HEADS, SEQ_LEN, TASKS, tiny_batch, tiny_loader, tiny_trainer
from banyan.train.accounting import count_weights, flops_per_token, memory_parts
from banyan.train.balance_config import BalanceConfig
from banyan.train.config import TrainConfig
from banyan.train.health.config import HealthConfig
from banyan.train.optimizer import OptimizerConfig
from banyan.train.prefetch import StepBatches
from banyan.train.r_drop import r_drop_loss
from banyan.train.state import Progress
from banyan.train.step_work import PLAIN, step_work
from banyan.train.stepper import Stepper
from banyan.train.trainer import Trainer

ADAMW = OptimizerConfig(name="adamw")  # Muon has products of its own
KEYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "low_memory": {"low_memory": True},
    "update_in_backward": {"update_in_backward": True},
    "famo": {"balance": BalanceConfig(method="famo")},
    "db_mtl": {"balance": BalanceConfig(method="db_mtl")},
    "r_drop": {"r_drop": 0.5},
}


class Step:
    """One step of the tiny run under some keys, its optimizer's memory already there."""

    def __init__(self, directory: Path, name: str, *, num_rows: int, is_one_task: bool = False) -> None:
        sizes = {"micro_batch_seqs": num_rows, "accumulation_steps": 1, "products": "torch"}
        keys = {**sizes, "health": HealthConfig(watch=False), **KEYS[name]}
        loss = partial(r_drop_loss, task_heads=HEADS, strength=0.5) if name == "r_drop" else None
        trainer: Trainer = tiny_trainer(
            directory / name,
            train=keys,
            optimizer=ADAMW,
            loader=tiny_loader(rows_per_batch=num_rows),
            loss_function=loss,
        )
        self.stepper: Stepper = trainer._stepper
        self.model, self.num_rows, self.progress = trainer.model, num_rows, Progress()
        self.work = step_work(TrainConfig(seq_len=SEQ_LEN, **keys), num_groups=len(TASKS) if name == "db_mtl" else 1)
        if is_one_task:
            batch = tiny_batch(num_rows=num_rows, tasks=("words",))
            self.stepper.batches = StepBatches(tiny_loader(), batch.with_noise)
        self.take()
        trainer._optimizer.zero_grad()

    def take(self) -> Any:
        return self.stepper.step(self.progress).batch

    @property
    def planned_bytes(self) -> int:
        num_tokens = self.num_rows * SEQ_LEN
        parts = memory_parts(
            self.model.config,  # type: ignore[arg-type]
            count_weights(self.model),
            optimizer=ADAMW,
            num_tokens=num_tokens,
            num_targets=num_tokens // 4,
            work=self.work,
        )
        return parts.gradients + parts.activations + parts.logits


@pytest.mark.parametrize(
    ("name", "num_rows", "is_more"),
    [("low_memory", 96, False), ("r_drop", 96, True), ("update_in_backward", 3, False), ("db_mtl", 1, True)],
)
def test_what_a_key_adds_to_memory_or_saves_is_planned_and_measured_alike(
    tmp_path: Path, name: str, num_rows: int, is_more: bool
) -> None:
    plain, other = (Step(tmp_path, key, num_rows=num_rows, is_one_task=num_rows == 1) for key in ("plain", name))
    assert (other.planned_bytes > plain.planned_bytes) == is_more
    assert (peak_tensor_bytes(other.take) > peak_tensor_bytes(plain.take)) == is_more


@pytest.mark.parametrize("name", ["plain", "low_memory", "famo", "r_drop"])
def test_the_arithmetic_of_a_step_is_what_pytorch_counts(tmp_path: Path, name: str) -> None:
    step = Step(tmp_path, name, num_rows=6, is_one_task=True)
    math = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, math:
        batch = step.take()
    num_tokens = step.num_rows * SEQ_LEN
    planned = flops_per_token(
        step.model.config,  # type: ignore[arg-type]
        count_weights(step.model),
        seq_len=SEQ_LEN,
        target_share=batch.num_targets / num_tokens,
        work=step.work,
    )
    assert planned * num_tokens == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_a_step_that_is_asked_for_nothing_costs_what_it_always_did() -> None:
    assert step_work(TrainConfig()) == PLAIN
    assert PLAIN.repetition == 1
