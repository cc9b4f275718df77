import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.train.distributed.stacked import check_divisible, join_parts, split_parts, take_apart

CONFIGS = [
    tiny_model_config(),
    tiny_model_config(attention_bias=True, ffn_bias=True),
    tiny_model_config(activation="gelu", qk_norm="none", num_kv_heads=4),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_model_taken_apart_computes_the_same(config: object) -> None:
    model = tiny_model(config)  # type: ignore[arg-type]
    token_ids = torch.arange(12).reshape(2, 6)
    before = model(token_ids)
    take_apart(model)
    torch.testing.assert_close(model(token_ids), before)


@pytest.mark.parametrize("config", CONFIGS)
def test_weights_taken_apart_and_joined_are_the_same_under_the_same_names(config: object) -> None:
    model = tiny_model(config)  # type: ignore[arg-type]
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    parts = split_parts(weights, model.config)
    take_apart(model)
    assert {name: tuple(part.shape) for name, part in parts.items()} == {
        name: tuple(weight.shape) for name, weight in model.state_dict().items()
    }
    joined = join_parts(dict(reversed(parts.items())))
    assert joined.keys() == weights.keys() and all(torch.equal(joined[name], weights[name]) for name in weights)


def test_a_number_that_is_remembered_of_a_stack_is_that_of_each_part() -> None:
    name = "blocks.0.attention.qkv.weight/step"
    parts = split_parts({name: torch.tensor(7.0)}, tiny_model_config())
    assert [float(part) for part in parts.values()] == [7.0] * 3
    assert join_parts(parts) == {name: torch.tensor(7.0)}


def test_a_number_of_ranks_that_does_not_divide_the_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"parallel.tensor=4 does not divide model.num_kv_heads=2"):
        check_divisible(tiny_model_config(), tensor=4)
