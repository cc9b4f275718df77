"""Every code of a finite scalar quantizer can be reached, comes back, and lets the gradient through."""

import torch

from banyan.model.vision.finite_scalar import FiniteScalarQuantizer

LEVELS = (4, 3, 2)


def test_every_code_comes_back_from_its_values() -> None:
    quantizer = FiniteScalarQuantizer(LEVELS)
    codes = torch.arange(quantizer.num_codes).view(1, 4, 6)
    values = quantizer.look_up(codes)
    latents = torch.logit((values + 1) / 2) / 1.6  # what the squashing turns into these values
    quantized = quantizer(latents)
    assert torch.equal(quantized.codes, codes)
    torch.testing.assert_close(quantized.values, values)


def test_extreme_latents_stay_inside_the_codebook() -> None:
    quantizer = FiniteScalarQuantizer(LEVELS)
    latents = torch.full((1, 3, 1, 2), 1e6) * torch.tensor([1.0, -1.0])
    assert quantizer(latents).codes.tolist() == [[[quantizer.num_codes - 1, 0]]]


def test_the_gradient_passes_the_rounding() -> None:
    latents = torch.randn(2, 3, 2, 2, requires_grad=True)
    FiniteScalarQuantizer(LEVELS)(latents).values.sum().backward()
    assert latents.grad is not None and (latents.grad > 0).all()


def test_unevenness_runs_from_codes_used_alike_to_one_code_alone() -> None:
    quantizer = FiniteScalarQuantizer(LEVELS)
    alike = torch.logit((quantizer.look_up(torch.arange(24).view(1, 4, 6)) + 1) / 2) / 1.6
    alone = alike[:, :, :1, :1].expand(1, 3, 4, 6).clone().requires_grad_()
    assert quantizer.unevenness(alike) < 0.05 < 0.5 < quantizer.unevenness(alone)
    quantizer.unevenness(alone).backward()
    assert alone.grad is not None and alone.grad.isfinite().all()
