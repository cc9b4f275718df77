from typing import Any

import pytest
import torch

from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.losses import joint_loss
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer
from banyan.train.snapshots import MARGIN, SnapshotRing
from banyan.train.state import Progress


class Learner:
    """A model, its optimizer, and a ring of snapshots of both."""

    def __init__(self, *, max_bytes: int = 1 << 30) -> None:
        self.model = tiny_learner()
        self.optimizer: ModelOptimizer = build_optimizer(self.model, OptimizerConfig())
        self.ring = SnapshotRing(self.model, holders=[self.optimizer], max_bytes=max_bytes)

    def learn(self) -> None:
        self.optimizer.zero_grad()
        joint_loss(self.model, tiny_batch(), task_heads=HEADS).loss_sums.sum().backward()
        self.optimizer.step()

    def everything(self) -> dict[str, torch.Tensor]:
        return {k: v.clone() for k, v in {**self.model.state_dict(), **self.optimizer.tensors()}.items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_going_back_restores_weights_optimizer_and_what_was_usual() -> None:
    learner = Learner()
    learner.learn()
    before = learner.everything()
    learner.ring.take(Progress(step=200), statistics={"mean": [1.0]})
    for _ in range(3):
        learner.learn()
    assert not same(before, learner.everything())
    snapshot = learner.ring.rewind(sound_until=300)
    assert snapshot is not None and (snapshot.progress.step, snapshot.statistics) == (200, {"mean": [1.0]})
    assert same(before, learner.everything())


def test_going_back_to_the_start_makes_the_optimizer_fresh() -> None:
    learner, other = Learner(), Learner()
    learner.ring.take(Progress(), statistics={})
    for _ in range(3):
        learner.learn()
    learner.ring.rewind(sound_until=3)
    learner.learn()
    other.learn()
    assert same(learner.everything(), other.everything())


@pytest.mark.parametrize(("sound_until", "step"), [(400 + MARGIN, 400), (399 + MARGIN, 200), (50, 200)])
def test_the_newest_snapshot_well_before_the_trouble_is_taken_or_the_oldest(sound_until: int, step: int) -> None:
    learner = Learner()
    for taken in (200, 400, 600):
        learner.ring.take(Progress(step=taken), statistics={})
    snapshot = learner.ring.rewind(sound_until=sound_until)
    assert snapshot is not None and snapshot.progress.step == step
    assert max(learner.ring.steps) == step


def test_three_are_kept_or_as_many_as_fit() -> None:
    learner = Learner()
    size = 3 * sum(value.nbytes for value in learner.model.state_dict().values())
    for max_bytes, kept in ((100 * size, [3, 4, 5]), (2 * size + 1, [4, 5]), (size - 1, [])):
        learner.ring = SnapshotRing(learner.model, holders=[learner.optimizer], max_bytes=max_bytes)
        for step in range(1, 6):
            learner.ring.take(Progress(step=step), statistics={})
        assert learner.ring.steps == kept
    assert learner.ring.rewind(sound_until=9) is None
