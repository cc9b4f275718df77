import torch

from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model_config
from banyan.testing.training import tiny_batch, tiny_learner
from banyan.train.health.activations import LayerProbe


def signals(model: Transformer, *, looks: int = 1) -> set[str]:
    probe = LayerProbe()
    return {f.signal for seed in range(looks) for f in probe.look(model, tiny_batch(seed=seed))}


def test_a_fresh_model_is_healthy_and_stays_as_it_was() -> None:
    model = tiny_learner(dropout=0.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert signals(model) == set()
    assert model.training and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_attention_scores_without_bounds_are_found() -> None:
    model = Transformer(tiny_model_config(qk_norm="none"))
    with torch.no_grad():
        model.blocks[1].attention.qkv.weight.mul_(300)  # type: ignore[operator, union-attr]
    assert "attention_logits" in signals(model)


def test_scores_are_those_that_attention_uses() -> None:
    model = tiny_learner()
    seen = {}

    def note(attention, given):  # type: ignore[no-untyped-def]
        x_BTD, plan = given
        seen["scores"] = attention.scores(x_BTD, plan)
        _, v_BTGK = attention._project(x_BTD)
        v_BHTK = v_BTGK.transpose(1, 2).repeat_interleave(attention.num_heads // attention.num_kv_heads, dim=1)
        mixed = (seen["scores"].softmax(-1) @ v_BHTK).transpose(1, 2).flatten(2)
        seen["expected"] = attention.output(mixed)

    attention = model.blocks[0].attention
    attention.register_forward_pre_hook(note)  # type: ignore[operator, union-attr]
    attention.register_forward_hook(lambda m, g, out: seen.update(actual=out))  # type: ignore[operator, union-attr]
    with torch.no_grad():
        model(torch.arange(8)[None])
    torch.testing.assert_close(seen["actual"], seen["expected"], rtol=1e-4, atol=1e-5)


def test_hidden_states_that_grow_from_layer_to_layer_are_found() -> None:
    model = tiny_learner()
    with torch.no_grad():
        model.blocks[1].feed_forward.down.weight.fill_(1e3)  # type: ignore[operator, union-attr]
    assert "residual_growth" in signals(model)


def test_units_that_never_answer_are_found_after_thousands_of_positions() -> None:
    model = Transformer(tiny_model_config(activation="relu2"))
    assert signals(model, looks=200) == set()
    with torch.no_grad():
        model.blocks[0].feed_forward.up.weight[:100] = 0  # type: ignore[operator, union-attr, index]
    assert signals(model, looks=200) == {"dead_units"}
