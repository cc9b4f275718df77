"""Lower layers learn slower or later, under every rule of moving weights, whatever the batch is cut into."""

import pytest
import torch
from torch import nn

from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.balance import default_balance
from banyan.train.health.weights import WeightProbe
from banyan.train.layer_rates import LayerRates
from banyan.train.losses import joint_loss
from banyan.train.optimizer import ModelOptimizer, OptimizerConfig, build_optimizer
from banyan.train.step import train_step

NAMES = [
    "heads.layers.0.weight",
    "final_norm.weight",
    "blocks.1.attention.qkv.weight",
    "blocks.0.feed_forward.down.weight",
]


def _learn(optimizer: OptimizerConfig, rates: LayerRates | None, *, steps: int, cut: int = 1) -> nn.Module:
    model = tiny_learner()
    moved = build_optimizer(model, optimizer)
    if rates is not None:
        moved.differ_by_layer(rates)
    for step in range(1, steps + 1):
        _step(model, moved, step, cut=cut)
    return model


def _step(model: nn.Module, moved: ModelOptimizer, step: int, *, cut: int = 1) -> None:
    moved.prepare_step(step, rate_factor=1.0)
    train_step(
        model,
        tiny_batch(seed=step),
        optimizer=moved,
        loss_function=lambda m, b: joint_loss(m, b, task_heads=HEADS),
        balance=default_balance(tiny_learner(), HEADS),
        accumulation_steps=cut,
        clip_norm=None,
    )


def test_layers_are_counted_from_the_top() -> None:
    rates = LayerRates(num_layers=2, decay=0.5, unfreeze_every=10)
    names = [*NAMES, "embedding.weight"]
    assert [rates.depth_of(name) for name in names] == [0, 0, 1, 2, 3]
    assert [rates.factor_of(name) for name in names] == [1.0, 1.0, 0.5, 0.25, 0.125]
    assert [rates.first_step_of(name) for name in names] == [1, 1, 1, 11, 21]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_step_is_as_much_shorter_as_the_layer_is_deeper(name: str) -> None:
    config = OptimizerConfig(name=name, weight_decay=0.0)  # type: ignore[arg-type]
    before = tiny_learner().state_dict()
    plain, decayed = (_learn(config, rates, steps=1) for rates in (None, LayerRates(num_layers=2, decay=0.5)))
    rates = LayerRates(num_layers=2, decay=0.5)
    for path, weight in plain.state_dict().items():
        own = decayed.state_dict()[path] - before[path]
        torch.testing.assert_close(own, (weight - before[path]) * rates.factor_of(path), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_frozen_layer_stays_bitwise_and_then_learns(name: str) -> None:
    config = OptimizerConfig(name=name)  # type: ignore[arg-type]
    rates = LayerRates(num_layers=2, unfreeze_every=2)
    before = tiny_learner().state_dict()
    moved = {
        steps: {
            path.split(".")[0] + path.split(".")[1]
            for path, weight in _learn(config, rates, steps=steps).state_dict().items()
            if not torch.equal(weight, before[path])
        }
        for steps in (2, 4, 5)
    }
    assert moved[2] == {"headslayers", "final_normweight", "blocks1"}
    assert moved[4] == moved[2] | {"blocks0"}
    assert moved[5] == moved[4] | {"embeddingweight"}


def test_rates_do_not_depend_on_how_the_batch_is_cut() -> None:
    rates = LayerRates(num_layers=2, decay=0.7, unfreeze_every=1)
    gentle = OptimizerConfig(epsilon=1e-2)  # else a gradient that is all rounding decides which way a weight goes
    whole, cut = (_learn(gentle, rates, steps=3, cut=parts) for parts in (1, 3))
    for path, weight in whole.state_dict().items():
        torch.testing.assert_close(cut.state_dict()[path], weight, rtol=1e-3, atol=1e-4)


def test_the_watch_knows_that_a_layer_is_not_due_yet() -> None:
    rates = LayerRates(num_layers=2, unfreeze_every=5)
    model = tiny_learner()
    moved = build_optimizer(model, OptimizerConfig())
    moved.differ_by_layer(rates)
    probe = WeightProbe(model, layer_rates=rates)
    for step in range(1, 5):
        probe.before_step()
        _step(model, moved, step)
        assert probe.after_step(step=step) == []
