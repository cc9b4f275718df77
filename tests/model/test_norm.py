import pytest
import torch

from banyan.model.norm import LayerNorm, RMSNorm, build_norm
from banyan.testing.models import tiny_model_config


def test_rms_norm_divides_by_the_root_mean_square() -> None:
    norm = RMSNorm(6, eps=1e-3).double()
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    for row, normed in zip(x.flatten(0, 1), norm(x).flatten(0, 1), strict=True):
        rms = (sum(value**2 for value in row) / 6 + 1e-3) ** 0.5
        torch.testing.assert_close(normed, row / rms * norm.weight)


def test_layer_norm_takes_the_mean_away_first() -> None:
    norm = LayerNorm(6, eps=1e-3).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    for row, normed in zip(x.flatten(0, 1), norm(x).flatten(0, 1), strict=True):
        mean = sum(row) / 6
        deviation = (sum((value - mean) ** 2 for value in row) / 6 + 1e-3) ** 0.5
        torch.testing.assert_close(normed, (row - mean) / deviation * norm.weight + norm.bias)


@pytest.mark.parametrize(
    ("changes", "num_parameters"),
    [
        ({"norm": "rms"}, 1),
        ({"norm": "rms", "norm_gain": False}, 0),
        ({"norm": "layer", "norm_bias": True}, 2),
        ({"norm": "layer"}, 1),
        ({"norm": "layer", "norm_gain": False, "norm_bias": True}, 1),
    ],
)
def test_a_norm_has_the_gain_and_bias_its_config_says(changes: dict[str, object], num_parameters: int) -> None:
    norm = build_norm(tiny_model_config(**changes))
    assert len(list(norm.parameters())) == num_parameters
    assert norm(torch.randn(2, 3, 32)).shape == (2, 3, 32)
