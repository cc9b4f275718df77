import pytest
import torch

from banyan.model.attention import Attention, AttentionPlan
from banyan.model.config import ModelConfig
from banyan.model.initialisation import init_weights
from banyan.model.rope import RopeTable
from banyan.testing.models import tiny_model_config


def attention(config: ModelConfig) -> Attention:
    layer = Attention(config, layer=0)
    init_weights(layer, generator=torch.Generator().manual_seed(0))
    return layer


def plan(mask: torch.Tensor | None = None, *, rope: tuple[torch.Tensor, torch.Tensor] | None = None) -> AttentionPlan:
    return AttentionPlan(mask=mask, rope=rope, cache=None)


def slow_attention(layer: Attention, x_TD: torch.Tensor) -> torch.Tensor:
    """One row, one head, one position at a time, without positions."""
    heads, groups, width = layer.num_heads, layer.num_kv_heads, layer.head_dim
    qkv = (layer.qkv(x_TD)).view(len(x_TD), heads + 2 * groups, width)
    mixed = torch.zeros(len(x_TD), heads, width, dtype=x_TD.dtype)
    for t in range(len(x_TD)):
        for head in range(heads):
            group = head // (heads // groups)
            scores = torch.stack([qkv[t, head] @ qkv[s, heads + group] / width**0.5 for s in range(t + 1)])
            values = qkv[: t + 1, heads + groups + group]
            mixed[t, head] = scores.softmax(0) @ values
    return layer.output(mixed.flatten(1))


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_attention_equals_the_loop_over_heads_and_positions(num_kv_heads: int) -> None:
    layer = attention(tiny_model_config(num_kv_heads=num_kv_heads, qk_norm="none")).double()
    x = torch.randn(2, 6, 32, dtype=torch.float64)
    expected = torch.stack([slow_attention(layer, row) for row in x])
    torch.testing.assert_close(layer(x, plan()), expected)


def test_a_query_never_sees_a_later_key() -> None:
    layer = attention(tiny_model_config())
    x = torch.randn(2, 6, 32)
    before = layer(x, plan())
    x[:, -1] = 1e3  # only the last query may notice
    after = layer(x, plan())
    torch.testing.assert_close(after[:, :-1], before[:, :-1])
    assert not torch.allclose(after[:, -1], before[:, -1])


@pytest.mark.parametrize("qk_norm", ["plain", "gain"])
def test_qk_norm_makes_attention_blind_to_the_length_of_queries_and_keys(qk_norm: str) -> None:
    layer = attention(tiny_model_config(qk_norm=qk_norm))
    rope = RopeTable(tiny_model_config()).at(torch.arange(6), dtype=torch.float32)
    x = torch.randn(1, 6, 32)
    before = layer(x, plan(rope=rope))
    with torch.no_grad():
        layer.qkv.weight[: 6 * 8] *= 7.0  # queries and keys, not values
    torch.testing.assert_close(layer(x, plan(rope=rope)), before, atol=1e-5, rtol=1e-4)


def test_gains_of_queries_and_keys_act_on_their_own_heads() -> None:
    layer = attention(tiny_model_config(qk_norm="gain"))
    x = torch.randn(1, 6, 32)
    with torch.no_grad():
        layer.q_gain.fill_(3.0)
    sharper = layer(x, plan())
    with torch.no_grad():
        layer.q_gain.fill_(1.0)
        layer.k_gain.fill_(3.0)
    torch.testing.assert_close(layer(x, plan()), sharper)
