import math
from functools import partial
from typing import Any

import pytest
import torch

from banyan.testing.training import HEADS, TASKS, tiny_learner, tiny_loader
from banyan.train.balance import default_balance
from banyan.train.config import TrainConfig
from banyan.train.losses import joint_loss
from banyan.train.optimizer import OptimizerConfig, build_optimizer
from banyan.train.schedule import ScheduleConfig
from banyan.train.state import Progress
from banyan.train.stepper import StepParts, Stepper


def stepper(**train: Any) -> Stepper:
    model = tiny_learner()
    config = TrainConfig(**{"steps": 20, "micro_batch_seqs": 2, "accumulation_steps": 2, "seq_len": 16, **train})
    parts = StepParts(
        model=model,
        loader=tiny_loader(),
        optimizer=build_optimizer(model, OptimizerConfig()),
        loss_function=partial(joint_loss, task_heads=HEADS),
        balance=default_balance(model, HEADS),
        config=config,
        schedule=ScheduleConfig(name="constant", warmup_fraction=0.0),
        learning_rate=0.003,
        task_names=TASKS,
        seed=0,
    )
    return Stepper(parts)


def test_the_progress_counts_what_was_done() -> None:
    progress, steps = Progress(), stepper()
    taken = [steps.step(progress) for _ in range(3)]
    assert progress.step == 3 and progress.num_tokens == sum(t.record.num_tokens for t in taken)
    assert [t.record.learning_rate for t in taken] == [0.003] * 3


def test_remedies_scale_the_planned_rate() -> None:
    assert stepper().step(Progress(learning_rate_scale=0.3)).record.learning_rate == pytest.approx(0.0009)


def test_an_earlier_batch_can_be_drawn_again_and_the_stream_goes_on() -> None:
    progress, steps, plain = Progress(), stepper(), stepper()
    first = steps.step(progress)
    steps.step(progress)
    again = steps.redraw(first.place)
    assert torch.equal(again.token_ids, first.batch.token_ids)  # type: ignore[attr-defined]
    third = steps.step(progress)
    plain_progress = Progress()
    expected = [plain.step(plain_progress) for _ in range(3)][-1]
    assert torch.equal(third.batch.token_ids, expected.batch.token_ids)  # type: ignore[attr-defined]
    assert third.record.loss == expected.record.loss


def test_losses_of_a_batch_are_those_of_the_step_that_learns_it() -> None:
    steps, ahead = stepper(), stepper()
    place = ahead.step(Progress()).place
    losses = steps.losses_of(steps.redraw(place))
    learned = steps.step(Progress()).result.task_losses
    for now, then in zip(losses, learned, strict=True):
        assert now == pytest.approx(then) or (math.isnan(now) and math.isnan(then))
