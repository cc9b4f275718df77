import copy

import torch
from torch import Tensor

from banyan.model.linear import Linear, use_product
from banyan.testing.models import tiny_model


def doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return 2 * torch.nn.functional.linear(x, weight, bias)


def test_a_layer_computes_and_names_its_weights_as_torchs_does() -> None:
    layer, reference = Linear(5, 3), torch.nn.Linear(5, 3)
    layer.load_state_dict(reference.state_dict())
    x = torch.randn(2, 5)
    assert torch.equal(layer(x), reference(x))


def test_every_product_of_a_model_can_be_exchanged() -> None:
    model = tiny_model()
    ids = torch.tensor([[1, 2, 3]])
    before = model.logits(model(ids)), model(ids)
    use_product(model, doubled)
    assert not torch.equal(model(ids), before[1])
    torch.testing.assert_close(model.logits(before[1]), 2 * before[0])


def test_a_copy_of_a_model_keeps_its_product() -> None:
    model = tiny_model()
    use_product(model, doubled)
    ids = torch.tensor([[1, 2, 3]])
    assert torch.equal(copy.deepcopy(model)(ids), model(ids))
