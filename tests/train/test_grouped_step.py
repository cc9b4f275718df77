import math
from functools import partial
from typing import Any

import pytest
import torch

from banyan.core.errors import DataError
from banyan.testing.faults import mask_all
from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.balance import TaskBalance
from banyan.train.grouped_step import grouped_step
from banyan.train.losses import joint_loss
from banyan.train.step import StepResult

BALANCE = TaskBalance(scales=(5.0, 1.1, 2.0), weights=(1.0, 1.0, 3.0))


def step(model: Any, batch: Any, **changes: Any) -> tuple[StepResult, list[float | None]]:
    arguments: dict[str, Any] = {
        "groups": ((0,), (1, 2)),
        "norms": [None, None],
        "smoothing": 0.9,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.0),
        "loss_function": partial(joint_loss, task_heads=HEADS),
        "balance": BALANCE,
        "clip_norm": None,
        **changes,
    }
    return grouped_step(model, batch, **arguments)


def log_gradients(batch: Any) -> list[list[torch.Tensor]]:
    """The gradient of the logarithm of each group's loss, by autograd through the whole of it."""
    found = []
    for group in range(2):
        model = tiny_learner()
        means = joint_loss(model, batch, task_heads=HEADS).means
        loss = means[0] / 5.0 if group == 0 else (means[1] / 1.1 + 3.0 * means[2] / 2.0) / 4.0
        found.append(list(torch.autograd.grad(loss.log(), list(model.parameters()), materialize_grads=True)))
    return found


def length(gradients: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_log_gradients_are_brought_to_the_length_of_the_longest(accumulation_steps: int) -> None:
    model, batch = tiny_learner(), tiny_batch()
    groups = log_gradients(batch)
    lengths = [length(gradients) for gradients in groups]
    _, norms = step(model, batch, accumulation_steps=accumulation_steps)
    assert norms == pytest.approx(lengths, rel=1e-4)
    shares = (1.0 / 3.0, 2.0 / 3.0)  # the mean weights of the groups are 1 and 2
    for number, ours in enumerate(model.parameters()):
        wanted = sum(
            share * max(lengths) / own * gradients[number]
            for share, own, gradients in zip(shares, lengths, groups, strict=True)
        )
        torch.testing.assert_close(ours.grad, wanted, rtol=1e-4, atol=1e-5)


def test_lengths_are_averaged_over_the_steps() -> None:
    batch = tiny_batch()
    own = length(log_gradients(batch)[0])
    _, norms = step(tiny_learner(), batch, norms=[10.0, None])
    assert norms[0] == pytest.approx(0.9 * 10.0 + 0.1 * own, rel=1e-4)


def test_a_group_that_is_not_there_keeps_its_length() -> None:
    result, norms = step(tiny_learner(), tiny_batch(tasks=("words",)), norms=[None, 7.0])
    assert norms[1] == 7.0 and math.isnan(result.task_losses[1])


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    model, batch = tiny_learner(), tiny_batch()
    before = [parameter.clone() for parameter in model.parameters()]
    model.embedding.weight.register_hook(lambda grad: grad * math.inf)
    result, norms = step(model, batch, norms=[1.0, None], optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert not result.is_applied and norms == [1.0, None]
    assert all(torch.equal(now, old) for now, old in zip(model.parameters(), before, strict=True))


def test_a_batch_without_a_target_is_refused() -> None:
    with pytest.raises(DataError, match="carries loss"):
        step(tiny_learner(), mask_all(tiny_batch(), 0))
