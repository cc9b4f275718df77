"""Adapters in a model: what they change, what they leave alone, and that they can be merged and taken out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.types import HeadKind, HeadSpec
from banyan.model.linear import use_product
from banyan.model.lora import LoraConfig, add_adapters, low_rank_pairs, merge, unmerge, without_adapter
from banyan.model.products import onednn_linear
from banyan.model.transformer import Transformer, count_parameters
from banyan.testing.adapters import give_random_adapter
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.train.int8 import int8_linear

GPT2 = {
    "norm": "layer",
    "norm_bias": True,
    "position": "learned",
    "activation": "gelu_tanh",
    "attention_bias": True,
    "output_bias": True,
    "ffn_bias": True,
    "qk_norm": "none",
    "num_kv_heads": 4,
}
SHAPES: dict[str, dict[str, Any]] = {"llama-like": {}, "gpt2": GPT2, "squared relu": {"activation": "relu2"}}
SKY = HeadSpec(name="sky", kind=HeadKind.CLASSIFICATION, labels=("sun", "moon"))
IDS = torch.arange(40).reshape(2, 20) * 7 % 320


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def logits(model: Transformer, **arguments: Any) -> Tensor:
    with torch.no_grad():
        return model.logits(model(IDS, **arguments))


@pytest.fixture(params=SHAPES)
def model(request: pytest.FixtureRequest) -> Transformer:
    return tiny_model(tiny_model_config(**SHAPES[request.param]), [SKY])


def test_a_model_answers_as_before_until_its_adapter_has_learned(model: Transformer) -> None:
    before = logits(model)
    add_adapters(model, LoraConfig(), generator=seed(1))
    assert torch.equal(logits(model), before)


def test_only_the_adapter_and_the_task_heads_learn(model: Transformer) -> None:
    add_adapters(model, LoraConfig(targets=("output", "feed_forward")), generator=seed(1))
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    pairs = {id(p) for pair in low_rank_pairs(model, "default").values() for p in pair.parameters()}
    assert learning == {
        name for name, p in model.named_parameters() if id(p) in pairs or name.startswith("heads.layers.")
    }
    assert not any("qkv" in name for name in learning)


def test_every_weight_of_a_fresh_adapter_gets_a_gradient_within_two_steps(model: Transformer) -> None:
    add_adapters(model, LoraConfig(), generator=seed(1))
    pairs = low_rank_pairs(model, "default").values()
    for _ in range(2):
        model.logits(model(IDS)).square().mean().backward()
        with torch.no_grad():
            for pair in pairs:
                pair.up -= 0.1 * pair.up.grad
    assert all(pair.down.grad is not None and pair.down.grad.abs().max() > 0 for pair in pairs)
    assert model.embedding.weight.grad is None


def test_an_adapter_equals_the_matrices_with_its_product_added(model: Transformer) -> None:
    give_random_adapter(model, "a", targets=("qkv", "down"))
    found = logits(model, adapters_B=["a", "a"])
    with torch.no_grad():
        for path, pair in low_rank_pairs(model, "a").items():
            weight = model.get_parameter(f"{path}.weight")
            stacked = torch.cat(
                [2.0 * up @ down for up, down in zip(pair.up_factors(), pair.down_factors(), strict=True)]
            )
            weight += stacked
    torch.testing.assert_close(found, logits(model), atol=1e-4, rtol=1e-5)


def test_parts_that_are_not_targets_stay_as_they_are() -> None:
    model = tiny_model()
    give_random_adapter(model, "a", targets=("q", "v", "up"))
    changed = {path: pair.change().abs().sum(dim=1) > 0 for path, pair in low_rank_pairs(model, "a").items()}
    q, kv = 32, 16
    qkv, gate_up = changed["blocks.0.attention.qkv"], changed["blocks.0.feed_forward.gate_up"]
    assert qkv[:q].all() and not qkv[q : q + kv].any() and qkv[q + kv :].all()
    assert not gate_up[: len(gate_up) // 2].any() and gate_up[len(gate_up) // 2 :].all()
    assert "blocks.0.attention.output" not in changed


def test_merged_logits_are_the_adapters_and_unmerging_gives_the_model_back(model: Transformer) -> None:
    plain = logits(model)
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    give_random_adapter(model, "a")
    adapted = logits(model, adapters_B=["a", "a"])
    merge(model, "a")
    torch.testing.assert_close(logits(model), adapted, atol=1e-5, rtol=1e-5)
    unmerge(model, "a")
    torch.testing.assert_close(logits(model), adapted, atol=1e-5, rtol=1e-5)
    without_adapter(model, "a")
    torch.testing.assert_close(logits(model), plain, atol=1e-5, rtol=1e-5)
    assert all(torch.allclose(weights[name], now, atol=1e-5) for name, now in model.state_dict().items())


def test_a_model_without_its_adapters_is_as_it_was(model: Transformer) -> None:
    names, size = [name for name, _ in model.named_parameters()], count_parameters(model)
    for name in ("a", "b"):
        give_random_adapter(model, name)
    assert count_parameters(model) == size < count_parameters(model, adapter="a")
    for name in ("a", "b"):
        without_adapter(model, name)
    assert [name for name, _ in model.named_parameters()] == names


def test_each_row_goes_through_its_own_adapter(model: Transformer) -> None:
    give_random_adapter(model, "a", seed=1)
    give_random_adapter(model, "b", seed=2, rank=2, targets=("attention",))
    whole = {name: logits(model, adapters_B=[name, name]) for name in (None, "a", "b")}
    mixed = logits(model, adapters_B=["b", None])
    torch.testing.assert_close(mixed[0], whole["b"][0])
    torch.testing.assert_close(mixed[1], whole[None][1])
    assert not torch.allclose(whole["a"], whole["b"], atol=1e-2)


def test_a_row_has_the_same_bits_whatever_the_others_go_through() -> None:
    model = tiny_model()
    for number, name in enumerate(("a", "b", "c")):
        give_random_adapter(model, name, seed=number)
    alone = logits(model, adapters_B=["a", None])[0]
    for other in ("a", "b", "c"):
        assert torch.equal(logits(model, adapters_B=["a", other])[0], alone)
    assert torch.equal(logits(model, adapters_B=[None, "b"])[0], logits(model)[0])


@pytest.mark.parametrize("product", [onednn_linear, int8_linear], ids=["oneDNN", "int8"])
def test_the_frozen_matrices_may_be_multiplied_by_another_routine(product: Any) -> None:
    model = tiny_model()
    use_product(model, product)
    plain = logits(model)
    add_adapters(model, LoraConfig(rank=2), generator=seed(1))
    torch.testing.assert_close(logits(model), plain)
    model.logits(model(IDS)).sum().backward()
    assert all(pair.up.grad is not None for pair in low_rank_pairs(model, "default").values())


def test_dropout_depends_on_seed_and_position_alone() -> None:
    model = tiny_model().train()
    give_random_adapter(model, "a")
    model.adapters["a"].config = LoraConfig(name="a", dropout=0.5)
    model.adapters.active = "a"
    for pair in low_rank_pairs(model, "a").values():
        pair.dropout = 0.5
    seeds = torch.tensor([3, 4])
    both = logits(model, noise_seeds_B=seeds)
    assert torch.equal(both, logits(model, noise_seeds_B=seeds))
    assert not torch.allclose(both, logits(model, noise_seeds_B=seeds + 1))
    with torch.no_grad():
        first = model.logits(model(IDS[:1], noise_seeds_B=seeds[:1]))
    torch.testing.assert_close(both[:1], first)
    model.eval()
    assert torch.equal(logits(model, noise_seeds_B=seeds), logits(model))


def test_a_second_adapter_learns_while_the_first_stays() -> None:
    model = tiny_model()
    add_adapters(model, LoraConfig(name="first"), generator=seed(1))
    add_adapters(model, LoraConfig(name="second"), generator=seed(2))
    assert not any(p.requires_grad for pair in low_rank_pairs(model, "first").values() for p in pair.parameters())
    assert model.adapters.active == "second"
    with pytest.raises(ConfigError, match="an adapter 'first' already"):
        add_adapters(model, LoraConfig(name="first"), generator=seed(1))


def test_a_part_of_a_matrix_that_other_tools_keep_whole_is_refused() -> None:
    model = tiny_model(tiny_model_config(**GPT2))
    with pytest.raises(ConfigError, match="q, v, and this model keeps q, k, v in one matrix"):
        add_adapters(model, LoraConfig(targets=("q", "v")), generator=seed(1))


def test_a_target_that_the_model_does_not_have_is_refused() -> None:
    model = tiny_model(tiny_model_config(activation="relu2"))
    with pytest.raises(ConfigError, match="names gate, and this model has none"):
        add_adapters(model, LoraConfig(targets=("gate",)), generator=seed(1))
    assert not model.adapters


def test_an_unknown_adapter_says_which_is_near() -> None:
    model = tiny_model()
    give_random_adapter(model, "reviews")
    with pytest.raises(UnknownNameError, match="did you mean reviews"):
        merge(model, "review")
