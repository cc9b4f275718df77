import pytest
import torch

from banyan.model.attention import Attention
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.train.score_bound import can_shrink_scores, shrink_scores

LAYER = "blocks.1.attention"


def scores(model: Transformer) -> torch.Tensor:
    seen: list[torch.Tensor] = []

    def note(attention: Attention, given: tuple[torch.Tensor, object]) -> None:
        seen.append(attention.scores(*given).tril())  # type: ignore[arg-type]

    hook = model.get_submodule(LAYER).register_forward_pre_hook(note)
    with torch.no_grad():
        model(torch.arange(8)[None])
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("changes", [{"qk_norm": "none"}, {"qk_norm": "none", "attention_bias": True}, {}])
def test_all_scores_of_the_layer_become_smaller_by_the_factor(changes: dict[str, object]) -> None:
    model = tiny_model(tiny_model_config(**changes))
    before = scores(model)
    others = [parameter.detach().clone() for parameter in model.blocks[0].parameters()]
    shrink_scores(model, LAYER, factor=0.25)
    torch.testing.assert_close(scores(model), 0.25 * before, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(others, model.blocks[0].parameters(), strict=True))


def test_values_stay_as_they_were() -> None:
    model = tiny_model(tiny_model_config(qk_norm="none"))
    attention = model.get_submodule(LAYER)
    assert isinstance(attention, Attention)
    num_values = attention.num_kv_heads * attention.head_dim
    before = attention.qkv.weight[-num_values:].detach().clone()
    shrink_scores(model, LAYER, factor=0.5)
    assert torch.equal(attention.qkv.weight[-num_values:], before)


def test_a_frozen_layer_cannot_be_changed() -> None:
    model = tiny_model(tiny_model_config(qk_norm="none"))
    assert can_shrink_scores(model, LAYER)
    model.requires_grad_(False)
    assert not can_shrink_scores(model, LAYER)
