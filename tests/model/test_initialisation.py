import torch

from banyan.core.types import HeadKind, HeadSpec
from banyan.model.transformer import Transformer
from banyan.testing.models import tiny_model, tiny_model_config

HEAD = HeadSpec(name="area", kind=HeadKind.CLASSIFICATION, labels=("a", "b"))


def weights(model: Transformer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_the_same_generator_gives_the_same_weights_and_another_gives_others() -> None:
    model = Transformer(tiny_model_config())
    model.init_weights(torch.Generator().manual_seed(3))
    first = weights(model)
    model.init_weights(torch.Generator().manual_seed(3))
    assert all(torch.equal(first[name], weight) for name, weight in weights(model).items())
    model.init_weights(torch.Generator().manual_seed(4))
    assert not torch.equal(first["embedding.weight"], model.embedding.weight)


def test_making_a_model_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    Transformer(tiny_model_config(), [HEAD]).init_weights(torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_init_weights_reaches_every_parameter() -> None:
    config = tiny_model_config(
        norm="layer", norm_bias=True, position="learned", attention_bias=True, output_bias=True, ffn_bias=True,
        lookback=2, tie_embeddings=False, num_image_codes=16, grid_size=4,
    )  # fmt: skip
    model = tiny_model(config, [HEAD], std=1.0)
    before = weights(model)
    model.init_weights(torch.Generator().manual_seed(0))
    fresh = Transformer(config, [HEAD])
    for name, weight in weights(model).items():
        assert not torch.equal(weight, before[name]), name
        assert torch.equal(weight, fresh.get_parameter(name)), name


def test_every_block_begins_as_the_identity() -> None:
    model = Transformer(tiny_model_config()).eval()
    token_ids = torch.randint(0, 320, (2, 9))
    torch.testing.assert_close(model(token_ids), model.final_norm(model.embedding(token_ids)))


def test_a_fresh_model_guesses_with_logits_of_deviation_one() -> None:
    model = Transformer(tiny_model_config(embed_dim=64, vocab_size=2048)).eval()
    token_ids = torch.arange(0, 2048, 40)[None, :48]
    logits = model.logits(model(token_ids))
    is_other = torch.ones_like(logits, dtype=torch.bool).scatter(2, token_ids[..., None], False)
    assert abs(logits[is_other].std().item() - 1.0) < 0.1
