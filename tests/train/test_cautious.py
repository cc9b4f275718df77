import pytest
import torch
from torch import nn

from banyan.train.cautious import CautiousAdamW

RATE, DECAY, BETAS, EPSILON = 0.1, 0.5, (0.8, 0.9), 1e-10
SETTINGS = {"lr": RATE, "betas": BETAS, "eps": EPSILON, "weight_decay": DECAY}


def moved(weight: torch.Tensor, gradients: list[torch.Tensor], rule: type[torch.optim.AdamW]) -> torch.Tensor:
    param = nn.Parameter(weight.clone())
    optimizer = rule([param], fused=True, **SETTINGS)
    for gradient in gradients:
        param.grad = gradient.clone()
        optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] == DECAY
    return param.detach()


def one_entry(value: float, gradients: list[float]) -> float:
    """AdamW on one number, as its paper writes it, except that decay waits for a step of the weight's own sign."""
    mean = square = 0.0
    for number, gradient in enumerate(gradients, start=1):
        mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
        square = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
        step = mean / (1 - BETAS[0] ** number) / ((square / (1 - BETAS[1] ** number)) ** 0.5 + EPSILON)
        value -= (RATE * DECAY * value if value * step > 0 else 0.0) + RATE * step
    return value


def test_a_weight_decays_only_where_the_step_makes_it_smaller() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, *gradients = (torch.randn(40, generator=generator, dtype=torch.float64) for _ in range(6))
    by_hand = [
        one_entry(float(value), [float(gradient[i]) for gradient in gradients]) for i, value in enumerate(weight)
    ]
    assert moved(weight, gradients, CautiousAdamW).tolist() == pytest.approx(by_hand)


def test_without_disagreement_it_is_plain_adamw() -> None:
    weight = torch.rand(20, generator=torch.Generator().manual_seed(0)) + 5
    gradients = [torch.full((20,), 0.5)] * 3
    ours, plain = (moved(weight, gradients, rule) for rule in (CautiousAdamW, torch.optim.AdamW))
    torch.testing.assert_close(ours, plain)


def test_weights_without_a_gradient_stay() -> None:
    param = nn.Parameter(torch.ones(2))
    CautiousAdamW([param], **SETTINGS).step()
    assert torch.equal(param, torch.ones(2))
