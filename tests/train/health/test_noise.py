import json
from typing import Any

import pytest
import torch
from torch import nn

from banyan.train.health.noise import GradientNoise

NUM_PARTS = 4


class Line(nn.Module):
    """A model whose gradient is a fixed direction and noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1000))


def step(noise: GradientNoise, model: Line, *, spread: float, generator: torch.Generator) -> float | None:
    """Make a step of several micro-batches, each with a share of the gradient, as a training step does."""
    model.weight.grad = None
    parts = [1.0 + spread * torch.randn(1000, generator=generator) for _ in range(NUM_PARTS)]
    listened: Any = noise.listening(lambda model, part: (model.weight * part).sum() / NUM_PARTS)  # type: ignore[arg-type, return-value]
    for part in parts:
        listened(model, part).backward()
    assert model.weight.grad is not None
    return noise.after_step(grad_norm=float(model.weight.grad.norm()))


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_the_noise_scale_is_that_of_the_gradients_that_were_drawn(spread: float) -> None:
    model = Line()
    noise, generator = GradientNoise(model), torch.Generator().manual_seed(0)
    found = [step(noise, model, spread=spread, generator=generator) for _ in range(16)]
    assert [number for number, value in enumerate(found, 1) if value is not None] == [8, 16]
    assert found[15] == pytest.approx(spread**2 / NUM_PARTS, rel=0.3)  # the noise of a batch, over the gradient


def test_a_step_of_one_part_tells_nothing() -> None:
    model = Line()
    noise = GradientNoise(model)
    noise.listening(lambda model, part: model.weight.sum())(model, None).backward()  # type: ignore[arg-type, return-value, attr-defined]
    assert noise.after_step(grad_norm=1.0) is None


def test_what_it_remembers_can_be_saved() -> None:
    model = Line()
    noise, again = GradientNoise(model), GradientNoise(model)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        step(noise, model, spread=1.0, generator=generator)
    again.restore(json.loads(json.dumps(noise.state())))
    assert again.state() == noise.state()
