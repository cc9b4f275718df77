import math

import pytest
import torch

from banyan.model.config import ModelConfig
from banyan.model.feed_forward import build_feed_forward
from banyan.model.initialisation import init_weights
from banyan.testing.models import tiny_model_config


def feed_forward(config: ModelConfig) -> torch.nn.Module:
    layer = build_feed_forward(config)
    init_weights(layer, generator=torch.Generator().manual_seed(0))
    return layer.double()


def test_swiglu_gates_one_half_by_the_other() -> None:
    layer = feed_forward(tiny_model_config(ffn_dim=48))
    x = torch.randn(2, 3, 32, dtype=torch.float64)
    gate_weight, up_weight = layer.gate_up.weight[:48], layer.gate_up.weight[48:]
    gate = x @ gate_weight.T
    expected = (gate / (1 + torch.exp(-gate)) * (x @ up_weight.T)) @ layer.down.weight.T
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    ("activation", "bend"),
    [
        ("relu2", lambda x: max(x, 0.0) ** 2),
        ("gelu", lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2)))),
        ("gelu_tanh", lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    ],
)
def test_each_activation_bends_by_its_formula(activation: str, bend: object) -> None:
    layer = feed_forward(tiny_model_config(activation=activation, ffn_bias=True))
    x = torch.randn(1, 2, 32, dtype=torch.float64)
    wide = x @ layer.up.weight.T + layer.up.bias
    bent = wide.detach().clone().apply_(bend)
    torch.testing.assert_close(layer(x), bent @ layer.down.weight.T + layer.down.bias)
