from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from banyan.core.errors import ConfigError
from banyan.model.transformer import Transformer
from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.backward_update import BackwardUpdate, backward_update
from banyan.train.config import TrainConfig
from banyan.train.losses import joint_loss
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer

LOSS = partial(joint_loss, task_heads=HEADS)


def learner(name: str = "adamw", **changes: Any) -> tuple[Transformer, ModelOptimizer]:
    model = tiny_learner(**changes).double()
    optimizer = build_optimizer(model, OptimizerConfig(name=name))  # type: ignore[arg-type]
    optimizer.prepare_step(1, rate_factor=1.0)
    return model, optimizer


def backward(model: Transformer, *, seed: int = 0) -> None:
    LOSS(model, tiny_batch(seed=seed)).loss_sums.sum().backward()  # type: ignore[no-untyped-call]


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("is_tied", [True, False], ids=["tied", "head of its own"])
def test_the_weights_move_as_they_do_after_a_whole_backward_pass(name: str, is_tied: bool) -> None:
    (model, optimizer), (plain, plain_optimizer) = (learner(name, tie_embeddings=is_tied) for _ in range(2))
    update = BackwardUpdate(model, optimizer, clip_norm=None)
    for seed in range(3):
        with update.collecting():
            loss = LOSS(model, tiny_batch(seed=seed)).loss_sums.sum()
        with update.moving():
            loss.backward()  # type: ignore[no-untyped-call]
        plain_optimizer.zero_grad()
        backward(plain, seed=seed)
        plain_optimizer.step()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        # A step is 1e-3. The bias of a span head changes no probability, so its gradient is rounding alone (1e-16), of
        # which Adam makes steps of 1e-8 in either direction.
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_no_two_gradients_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, optimizer = learner()
    counts = []
    move = optimizer.move

    def counted(param: nn.Parameter) -> None:
        counts.append(sum(parameter.grad is not None for parameter in model.parameters()))
        move(param)

    monkeypatch.setattr(optimizer, "move", counted)
    with BackwardUpdate(model, optimizer, clip_norm=1.0).moving():
        backward(model)
    assert set(counts) == {1}
    assert all(parameter.grad is None for parameter in model.parameters())


def test_outside_of_the_block_a_backward_pass_moves_nothing() -> None:
    model, optimizer = learner()
    update = BackwardUpdate(model, optimizer, clip_norm=1.0)
    with update.moving():
        backward(model)
    before = weights(model)
    backward(model)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_length_is_that_of_all_gradients_together_and_is_remembered() -> None:
    (model, optimizer), (plain, _) = learner(), learner()
    update = BackwardUpdate(model, optimizer, clip_norm=1.0)
    assert update.earlier_norm == 0.0
    with update.moving():
        backward(model)
    backward(plain)
    gradients = [parameter.grad for parameter in plain.parameters() if parameter.grad is not None]
    assert update.norm == pytest.approx(float(nn.utils.get_total_norm(gradients)), rel=1e-5)
    assert update.earlier_norm == pytest.approx(update.norm, rel=1e-6)
    assert float(optimizer.tensors()["final_norm.weight/gradient_length"]) > 0


class _Descent:
    """Notes the gradients that weights would move by."""

    def __init__(self, optimizer: ModelOptimizer) -> None:
        self.lengths: list[float] = []
        self._optimizer = optimizer

    def move(self, param: nn.Parameter) -> None:
        assert param.grad is not None
        self.lengths.append(float(param.grad.norm()))

    def memory_of(self, param: nn.Parameter) -> dict[str, torch.Tensor]:
        return self._optimizer.memory_of(param)


def test_gradients_are_clipped_by_the_length_of_the_step_before() -> None:
    model, optimizer = learner()
    descent = _Descent(optimizer)
    update = BackwardUpdate(model, descent, clip_norm=0.1)  # type: ignore[arg-type]
    for _ in range(2):
        descent.lengths.clear()
        with update.moving():
            backward(model)  # the weights stand still, so both gradients are the same
    assert sum(length**2 for length in descent.lengths) ** 0.5 == pytest.approx(0.1, rel=1e-3)


def test_no_single_gradient_is_longer_than_the_bound_even_after_a_quiet_step() -> None:
    model, optimizer = learner()
    descent = _Descent(optimizer)
    with BackwardUpdate(model, descent, clip_norm=0.1).moving():  # type: ignore[arg-type]
        backward(model)
    assert max(descent.lengths) <= 0.1 + 1e-6


def test_a_weight_whose_gradient_is_not_a_number_stays_as_it_was() -> None:
    model, optimizer = learner()
    update = BackwardUpdate(model, optimizer, clip_norm=1.0)
    broken = model.blocks[0].attention_norm.weight  # type: ignore[union-attr]
    broken.register_hook(lambda gradient: gradient * torch.nan)
    before = broken.detach().clone()
    others = weights(model.blocks[1])
    with update.moving():
        backward(model)
    assert torch.equal(broken, before)
    assert not all(torch.equal(a, b) for a, b in zip(others, model.blocks[1].parameters(), strict=True))
    assert update.norm != update.norm  # the step as a whole has no length


def test_it_is_refused_where_gradients_are_added_up() -> None:
    with pytest.raises(ConfigError, match="accumulation_steps=2") as accumulating:
        TrainConfig(update_in_backward=True, accumulation_steps=2)
    assert "micro_batch_seqs" in str(accumulating.value.hint)
    model, optimizer = learner()
    with pytest.raises(ConfigError, match="2 processes"):
        backward_update(model, optimizer, config=TrainConfig(update_in_backward=True), world_size=2)
    assert backward_update(model, optimizer, config=TrainConfig()) is None
