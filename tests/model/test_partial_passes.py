import pytest
import torch
from torch import Tensor

from banyan.model.partial_passes import layers, onward
from banyan.testing.models import tiny_model, tiny_model_config

SHAPES: dict[str, dict[str, object]] = {
    "rope": {},
    "learned positions": {"position": "learned", "norm": "layer", "norm_bias": True},
    "lookback": {"lookback": 2},
}


def random_ids(*shape: int) -> Tensor:
    return torch.randint(320, shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_every_layer_is_what_so_many_blocks_give_with_the_norm_after_all_alone(shape: str) -> None:
    model, token_ids = tiny_model(tiny_model_config(**SHAPES[shape])), random_ids(2, 9)
    until = torch.tensor([[4] * 9, [0] * 9])
    found = list(layers(model, token_ids, attend_until_BT=until))
    for num_blocks, states in enumerate(found):
        assert torch.equal(states, model(token_ids, attend_until_BT=until, num_blocks=num_blocks))
    assert len(found) == 3
    assert torch.equal(found[-1], model(token_ids, attend_until_BT=until))
    assert not torch.equal(found[-1], model.final_norm(found[-1]))


@torch.no_grad()
@pytest.mark.parametrize("first_block", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_last_blocks_alone_end_where_the_whole_pass_ends(shape: str, first_block: int) -> None:
    model, token_ids = tiny_model(tiny_model_config(**SHAPES[shape])), random_ids(2, 9)
    packed = {
        "position_ids_BT": torch.tensor([[*range(5), *range(4)]] * 2),
        "segment_ids_BT": torch.tensor([[0] * 5 + [1] * 4] * 2),
        "attend_until_BT": torch.tensor([[3] * 4 + [0] * 5] * 2),
    }
    states = model(token_ids, num_blocks=first_block, **packed)
    assert torch.equal(onward(model, states, first_block=first_block, **packed), model(token_ids, **packed))
