import pytest
import torch
from torch import nn

from banyan.train.muon import Muon, even_rows, orthogonalise


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 16, 8), (2, 8, 24)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    result = orthogonalise(matrices)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.4
    assert values.max() < 1.3
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    aligned = u.mT @ result @ vh.mT
    torch.testing.assert_close(aligned, torch.diag_embed(aligned.diagonal(dim1=-2, dim2=-1)), atol=1e-4, rtol=0)


def test_the_size_of_a_gradient_does_not_matter() -> None:
    matrix = torch.randn((1, 6, 9), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalise(matrix), orthogonalise(matrix * 1e3), rtol=1e-3, atol=1e-3)


def test_a_zero_gradient_is_no_update() -> None:
    assert orthogonalise(torch.zeros(1, 4, 4)).abs().max() == 0


def one_step(weight: nn.Parameter, gradients: list[torch.Tensor], **settings: object) -> torch.Tensor:
    optimizer = Muon([weight], **settings)  # type: ignore[arg-type]
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


def test_the_update_is_nesterov_momentum_made_orthogonal() -> None:
    generator = torch.Generator().manual_seed(0)
    start, *gradients = (torch.randn((12, 4), generator=generator) for _ in range(4))
    weight = one_step(nn.Parameter(start.clone()), gradients, lr=0.1, momentum=0.9, weight_decay=0.5)
    expected, momentum = start.clone(), torch.zeros_like(start)
    for gradient in gradients:
        momentum = 0.9 * momentum + 0.1 * gradient
        direction = orthogonalise((0.9 * momentum + 0.1 * gradient)[None])[0]
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * (12 / 4) ** 0.5 * direction
    torch.testing.assert_close(weight, expected)


def test_stacked_matrices_are_moved_as_if_they_were_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn((rows, 4), generator=generator) for rows in (4, 2, 2)]
    gradients = [torch.randn(part.shape, generator=generator) for part in parts]
    stacked = nn.Parameter(torch.cat(parts))
    one_step(stacked, [torch.cat(gradients)], lr=0.1, parts={stacked: (4, 2, 2)})
    apart = [one_step(nn.Parameter(part), [gradient], lr=0.1) for part, gradient in zip(parts, gradients, strict=True)]
    torch.testing.assert_close(stacked.detach(), torch.cat(apart))


def test_a_cautious_weight_decays_only_where_the_step_makes_it_smaller() -> None:
    generator = torch.Generator().manual_seed(0)
    start, *gradients = (torch.randn((6, 4), generator=generator, dtype=torch.float64) for _ in range(4))
    weight = nn.Parameter(start.clone())
    one_step(weight, gradients, lr=0.1, momentum=0.9, weight_decay=0.5, is_cautious=True)
    expected, momentum = start.clone(), torch.zeros_like(start)
    for gradient in gradients:
        momentum = 0.9 * momentum + 0.1 * gradient
        step = orthogonalise((0.9 * momentum + 0.1 * gradient)[None])[0]
        for row in range(6):
            for column in range(4):
                value, move = float(expected[row, column]), float(step[row, column])
                decay = 0.1 * 0.5 * value if value * move > 0 else 0.0
                expected[row, column] = value - decay - 0.1 * (6 / 4) ** 0.5 * move
    torch.testing.assert_close(weight.detach(), expected)


def test_even_rows_are_divided_by_their_usual_size_and_keep_the_size_of_the_step() -> None:
    generator = torch.Generator().manual_seed(0)
    squares, usual = torch.zeros(2, 3, 1), torch.zeros(2, 3, dtype=torch.float64)
    for _ in range(3):
        steps = torch.randn((2, 3, 5), generator=generator) * torch.tensor([1.0, 10.0, 0.1])[:, None]
        result = even_rows(steps, squares)
        usual = 0.95 * usual + 0.05 * (steps.double() ** 2).mean(dim=2)
        expected = steps.double() / usual.sqrt()[:, :, None]
        expected *= (steps.double().norm(dim=(1, 2)) / expected.norm(dim=(1, 2)))[:, None, None]
        torch.testing.assert_close(result, expected.float())
    row_sizes = result.norm(dim=2)
    assert row_sizes.max() < 10 * row_sizes.min()  # they were 100 times as large


def test_even_rows_of_a_zero_step_stay_zero() -> None:
    assert even_rows(torch.zeros(1, 2, 2), torch.zeros(1, 2, 1)).abs().max() == 0


def test_rows_of_stacked_matrices_are_evened_part_by_part() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn((rows, 4), generator=generator) for rows in (4, 2)]
    gradients = [torch.randn(part.shape, generator=generator) for part in parts]
    stacked = nn.Parameter(torch.cat(parts))
    one_step(stacked, [torch.cat(gradients)] * 2, lr=0.1, normalise_rows=True, parts={stacked: (4, 2)})
    apart = [
        one_step(nn.Parameter(part), [gradient] * 2, lr=0.1, normalise_rows=True)
        for part, gradient in zip(parts, gradients, strict=True)
    ]
    torch.testing.assert_close(stacked.detach(), torch.cat(apart))


def test_weights_without_a_gradient_stay() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weight, torch.ones(2, 2))
