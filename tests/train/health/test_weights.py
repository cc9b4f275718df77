import pytest
import torch

from banyan.testing.training import HEADS, tiny_batch, tiny_learner
from banyan.train.health.weights import WeightProbe
from banyan.train.losses import joint_loss
from banyan.train.optimizer import OptimizerConfig, build_optimizer


def learn(probe: WeightProbe, model: torch.nn.Module, *, rate: float = 0.1, steps: range = range(1, 5)) -> list[str]:
    """Make some steps, look at each, and return what was found as signal:weight."""
    optimizer = build_optimizer(model, OptimizerConfig())
    found = []
    for step in steps:
        optimizer.prepare_step(step, rate_factor=rate)
        optimizer.zero_grad()
        joint_loss(model, tiny_batch(seed=step), task_heads=HEADS).loss_sums.sum().backward()
        probe.before_step()
        optimizer.step()
        found += [f"{f.signal}:{f.where}" for f in probe.after_step(step=step)]
    return found


def test_a_healthy_model_moves_everywhere_and_not_too_much() -> None:
    model = tiny_learner()
    assert learn(WeightProbe(model), model, steps=range(150, 156)) == []


@pytest.mark.parametrize("name", ["blocks.0.feed_forward.gate_up.weight", "blocks.1.attention.qkv.weight"])
def test_a_weight_that_stands_still_is_named_at_the_second_look(name: str) -> None:
    model = tiny_learner()
    probe = WeightProbe(model)
    model.get_parameter(name).requires_grad_(False)
    assert learn(probe, model) == [f"frozen_layer:{name}"]


def test_a_head_whose_task_is_rare_may_rest() -> None:
    model = tiny_learner()
    probe = WeightProbe(model)
    optimizer = build_optimizer(model, OptimizerConfig())
    found = []
    for step in range(1, 5):
        optimizer.zero_grad()
        joint_loss(model, tiny_batch(seed=step, tasks=("words",)), task_heads=HEADS).loss_sums.sum().backward()
        probe.before_step()
        optimizer.step()
        found += probe.after_step(step=step)
    assert found == []


def test_steps_that_are_far_too_large_are_named() -> None:
    model = tiny_learner()
    found = learn(WeightProbe(model), model, rate=100.0, steps=range(150, 154))
    assert found and {entry.split(":")[0] for entry in found} == {"update_too_large"}


def test_a_gradient_a_thousand_times_the_others_is_named() -> None:
    model = tiny_learner()
    probe, name = WeightProbe(model), "blocks.1.attention.output.weight"
    model.get_parameter(name).register_hook(lambda gradient: 1e4 * gradient)
    found = learn(probe, model, steps=range(150, 154))
    assert f"layer_gradient:{name}" in found


def test_a_step_that_was_not_made_is_not_looked_at() -> None:
    probe = WeightProbe(tiny_learner())
    probe.before_step()
    probe.forget()
    assert probe.after_step(step=200) == []
