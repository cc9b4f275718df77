import math
from collections.abc import Sequence
from functools import partial

import pytest
import torch

from banyan.core.errors import DataError
from banyan.model.transformer import Transformer
from banyan.testing.faults import mask_all
from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.backward_update import BackwardUpdate
from banyan.train.balance import default_balance
from banyan.train.lean_step import lean_step
from banyan.train.losses import joint_loss
from banyan.train.optimizer import OptimizerConfig, build_optimizer
from banyan.train.step import Judge, StepResult, Verdict, apply_if_finite, train_step

LOSS = partial(joint_loss, task_heads=HEADS)


class Learner:
    def __init__(self) -> None:
        self.model: Transformer = tiny_learner()
        self.optimizer = build_optimizer(self.model, OptimizerConfig(name="adamw"))
        self.update = BackwardUpdate(self.model, self.optimizer, clip_norm=1.0)
        self.balance = default_balance(self.model, HEADS)

    def step(self, *, seed: int = 0, judge: Judge = apply_if_finite) -> StepResult:
        return lean_step(
            self.model,
            tiny_batch(seed=seed),
            update=self.update,
            optimizer=self.optimizer,
            loss_function=LOSS,
            balance=self.balance,
            judge=judge,
        )

    def weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def test_what_a_step_tells_is_what_the_ordinary_step_tells() -> None:
    lean, plain = Learner(), Learner()
    ours = lean.step()
    theirs = train_step(plain.model, tiny_batch(), optimizer=plain.optimizer, loss_function=LOSS, balance=plain.balance)
    assert (ours.loss, ours.task_losses) == (theirs.loss, theirs.task_losses)
    assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-5)
    assert (ours.num_targets, ours.num_tokens, ours.is_applied) == (theirs.num_targets, theirs.num_tokens, True)


def test_the_judge_decides_before_anything_moves() -> None:
    learner = Learner()
    seen: list[tuple[float, float]] = []

    def judge(loss: float, task_losses: Sequence[float], grad_norm: float) -> Verdict:
        seen.append((loss, grad_norm))
        return Verdict(update_scale=1.0 if len(seen) == 1 else 0.0, signal="bad_batch")

    first = learner.step(judge=judge)
    before = learner.weights()
    second = learner.step(seed=1, judge=judge)
    assert not second.is_applied
    assert all(torch.equal(a, b) for a, b in zip(before, learner.weights(), strict=True))
    assert seen[0] == (first.loss, 0.0)
    assert seen[1][1] == pytest.approx(first.grad_norm)  # of the step before


def test_a_gradient_that_is_no_number_is_told_once_the_backward_pass_is_done() -> None:
    learner = Learner()
    learner.model.final_norm.weight.register_hook(lambda gradient: gradient * torch.nan)
    result = learner.step()
    assert math.isfinite(result.loss) and math.isnan(result.grad_norm)
    assert (result.verdict.signal, result.is_applied) == ("not_finite", False)


def test_a_batch_without_targets_cannot_be_learned_from() -> None:
    learner = Learner()
    with pytest.raises(DataError, match="no position that carries loss"):
        lean_step(
            learner.model,
            mask_all(tiny_batch(), 0),
            update=learner.update,
            optimizer=learner.optimizer,
            loss_function=LOSS,
            balance=learner.balance,
        )
