import torch

from banyan.infer.random_weights import with_random_weights
from banyan.testing.prompts import make_model


def test_every_weight_is_drawn_anew_at_its_own_scale_and_the_model_keeps_its_own() -> None:
    model = make_model()
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    random = with_random_weights(model, generator=torch.Generator().manual_seed(0))
    for name, weight in random.named_parameters():
        torch.testing.assert_close(dict(model.named_parameters())[name], before[name], rtol=0, atol=0)
        assert not torch.equal(weight, before[name]), name
        if weight.numel() > 1000:
            torch.testing.assert_close(weight.std(), before[name].std(), rtol=0.1, atol=0)


def test_the_same_generator_draws_the_same_model() -> None:
    first, second = (
        with_random_weights(make_model(), generator=torch.Generator().manual_seed(3)).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
