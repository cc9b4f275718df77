import dataclasses
import math
from functools import partial

import pytest
import torch

from banyan.core.errors import DataError
from banyan.data.batch import Batch
from banyan.model.transformer import Transformer
from banyan.testing.training import HEADS, TASKS, tiny_batch, tiny_learner
from banyan.train.balance import TaskBalance, default_balance
from banyan.train.losses import joint_loss
from banyan.train.step import StepResult, train_step


def step(model: Transformer, batch: Batch, *, rate: float = 0.1, **changes: object) -> StepResult:
    arguments: dict[str, object] = {
        "optimizer": torch.optim.SGD(model.parameters(), lr=rate),
        "loss_function": partial(joint_loss, task_heads=HEADS),
        "balance": default_balance(model, HEADS),
        **changes,
    }
    return train_step(model, batch, **arguments)  # type: ignore[arg-type]


def weights(model: Transformer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("num_parts", [2, 3, 6])
def test_the_update_does_not_depend_on_the_number_of_micro_batches(num_parts: int) -> None:
    whole, parts, batch = tiny_learner(), tiny_learner(), tiny_batch()
    result = step(whole, batch)
    split = step(parts, batch, accumulation_steps=num_parts)
    assert split.loss == pytest.approx(result.loss, rel=1e-6)
    assert split.task_losses == pytest.approx(result.task_losses, rel=1e-6)
    for ours, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_dropout_does_not_depend_on_the_number_of_micro_batches() -> None:
    batch = tiny_batch().with_noise(5)
    once, thrice = (tiny_learner(dropout=0.3) for _ in range(2))
    for model, num_parts in ((once, 1), (thrice, 3)):
        step(model, batch, accumulation_steps=num_parts)  # blocks add nothing before their first update
    results = [step(model, batch, accumulation_steps=num_parts) for model, num_parts in ((once, 1), (thrice, 3))]
    assert results[0].loss == pytest.approx(results[1].loss, rel=1e-6)
    assert results[0].grad_norm == pytest.approx(results[1].grad_norm, rel=1e-5)


def test_the_gradient_is_that_of_the_balanced_loss_computed_at_once() -> None:
    model, reference, batch = tiny_learner(), tiny_learner(), tiny_batch()
    balance = TaskBalance(scales=(5.0, 1.1, 2.0), weights=(1.0, 2.0, 0.5))
    means = joint_loss(reference, batch, task_heads=HEADS).means
    scaled = [w * mean / s for w, mean, s in zip(balance.weights, means, balance.scales, strict=True)]
    loss = sum(scaled) / sum(balance.weights)
    loss.backward()  # type: ignore[union-attr]
    result = step(model, batch, balance=balance, clip_norm=None, accumulation_steps=2, rate=0.0)
    assert result.loss == pytest.approx(loss.item(), rel=1e-6)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_an_emphasis_multiplies_a_tasks_gradient_and_not_the_loss_that_is_told() -> None:
    model, reference, batch = tiny_learner(), tiny_learner(), tiny_batch()
    emphasis = (2.0, 0.0, 0.5)
    means = joint_loss(reference, batch, task_heads=HEADS).means
    scales = default_balance(reference, HEADS).scales
    parts = [e * mean / s / 3 for e, mean, s in zip(emphasis, means, scales, strict=True)]
    sum(parts).backward()  # type: ignore[union-attr]
    plain = step(tiny_learner(), batch, rate=0.0)
    result = step(model, batch, emphasis=emphasis, clip_norm=None, accumulation_steps=2, rate=0.0)
    assert result.loss == pytest.approx(plain.loss, rel=1e-6)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)


def test_a_model_that_knows_nothing_has_loss_near_one() -> None:
    result = step(tiny_learner(), tiny_batch())
    assert result.loss == pytest.approx(1, abs=0.3)


def test_a_task_without_targets_in_the_step_is_left_out() -> None:
    result = step(tiny_learner(), tiny_batch(tasks=("words", "spans")))
    assert math.isnan(result.task_losses[TASKS.index("labels")])
    assert math.isfinite(result.loss)


def test_gradients_longer_than_the_limit_are_clipped() -> None:
    model = tiny_learner()
    result = step(model, tiny_batch(), clip_norm=0.01)
    total = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None))
    assert result.grad_norm > 0.01
    assert total == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_that_is_not_finite_changes_nothing(value: float) -> None:
    model, batch = tiny_learner(), tiny_batch()
    before = weights(model)

    def poisoned_loss(trunk: Transformer, part: Batch) -> object:
        losses = joint_loss(trunk, part, task_heads=HEADS)
        return dataclasses.replace(losses, loss_sums=losses.loss_sums * value)

    result = step(model, batch, loss_function=poisoned_loss)
    assert not result.is_applied
    assert all(torch.equal(after, before[name]) for name, after in model.state_dict().items())


def test_an_overflowing_gradient_changes_nothing_even_if_the_loss_is_finite() -> None:
    model = tiny_learner()
    before = weights(model)
    model.embedding.weight.register_hook(lambda grad: grad * math.inf)
    result = step(model, tiny_batch())
    assert math.isfinite(result.loss)
    assert not result.is_applied
    assert all(torch.equal(after, before[name]) for name, after in model.state_dict().items())


def test_a_batch_without_a_target_is_refused() -> None:
    batch = tiny_batch()
    masked = dataclasses.replace(batch, loss_weights=torch.zeros_like(batch.loss_weights))
    with pytest.raises(DataError, match="no position that carries loss"):
        step(tiny_learner(), masked)


def test_a_micro_batch_without_a_target_is_no_harm() -> None:
    batch = tiny_batch()
    mask = torch.ones_like(batch.loss_weights)
    mask[:2] = 0
    half = dataclasses.replace(batch, loss_weights=batch.loss_weights * mask)
    result = step(tiny_learner(), half, accumulation_steps=3)
    assert result.is_applied
    assert result.num_targets == half.num_targets < batch.num_targets


def test_repeating_the_step_on_one_batch_learns_it() -> None:
    model, batch = tiny_learner(), tiny_batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = [step(model, batch, optimizer=optimizer).loss for _ in range(80)]
    assert losses[-1] < 0.1 * losses[0]
