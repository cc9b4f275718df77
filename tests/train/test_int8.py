import torch
import torch.nn.functional as F
from torch import Tensor

from banyan.train.int8 import LARGEST, int8_linear, quantised


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm())


def test_product_and_gradients_are_within_two_percent_of_float32() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, 96, requires_grad=True)
    weight, bias = torch.randn(128, 96, requires_grad=True), torch.randn(128, requires_grad=True)
    above = torch.randn(2, 64, 128)
    results = []
    for routine in (F.linear, int8_linear):
        output = routine(x, weight, bias)
        results.append((output, *torch.autograd.grad(output, (x, weight, bias), above)))
    for expected, found in zip(*results, strict=True):
        assert relative_error(found, expected) < 0.02


def test_every_row_uses_the_whole_range_whatever_its_size() -> None:
    values, scales = quantised(torch.randn(5, 64) * torch.logspace(-9, 6, 5)[:, None], dim=1)
    assert values.abs().amax(dim=1).tolist() == [LARGEST] * 5
    assert scales.shape == (5, 1)


def test_a_row_of_zeros_stays_zero() -> None:
    values, scales = quantised(torch.zeros(2, 8), dim=1, is_by_chance=True)
    assert not (values * scales).any()


def test_rounding_by_chance_keeps_the_mean_and_rounding_to_the_nearest_does_not() -> None:
    torch.manual_seed(0)
    small = 0.003 * torch.rand(4000, 100)  # below half a unit, beside one number that sets the scale
    small[:, 0] = 1.0
    means = {}
    for is_by_chance in (False, True):
        values, scales = quantised(small, dim=1, is_by_chance=is_by_chance)
        means[is_by_chance] = float((values * scales)[:, 1:].mean())
    assert means[False] == 0
    assert abs(means[True] / float(small[:, 1:].mean()) - 1) < 0.02


def test_the_same_numbers_are_always_rounded_alike() -> None:
    x = torch.randn(8, 32)
    assert torch.equal(quantised(x, dim=0, is_by_chance=True)[0], quantised(x, dim=0, is_by_chance=True)[0])


def test_a_narrow_layer_stays_in_float32() -> None:
    x, weight = torch.randn(4, 64), torch.randn(3, 64)
    assert torch.equal(int8_linear(x, weight), F.linear(x, weight))
