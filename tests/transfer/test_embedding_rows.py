"""A model with other rows: the trunk and the old rows stay bit for bit, new rows are made of old ones."""

from __future__ import annotations

import pytest
import torch

from banyan.model.config import ModelConfig
from banyan.model.transformer import Transformer
from banyan.transfer.embedding_rows import RowPlan, with_rows

OLD_TEXT, OLD_CODES = 20, 4


def build(*, tie: bool = True, num_codes: int = OLD_CODES) -> Transformer:
    config = ModelConfig(
        num_layers=2,
        num_heads=2,
        embed_dim=16,
        vocab_size=OLD_TEXT + num_codes,
        num_image_codes=num_codes,
        grid_size=2 if num_codes else 0,
        max_seq_len=16,
        tie_embeddings=tie,
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def keep(text_size: int, *, codes: int = OLD_CODES, grid: int = 2, **new: tuple[int, ...]) -> RowPlan:
    pieces: dict[int, tuple[int, ...]] = {token_id: (token_id,) for token_id in range(OLD_TEXT)}
    pieces |= {int(name.removeprefix("id_")): ids for name, ids in new.items()}
    return RowPlan(text_size=text_size, pieces=pieces, num_image_codes=codes, grid_size=grid)


@pytest.mark.parametrize("tie", [True, False])
def test_old_ids_keep_their_logits_bit_for_bit(tie: bool) -> None:
    model = build(tie=tie)
    grown = with_rows(model, keep(26, id_20=(1, 2), id_21=(3,)))
    token_ids = torch.arange(OLD_TEXT)[None, :12]
    before, after = model(token_ids), grown(token_ids)
    assert torch.equal(before, after)
    # Products over more rows may round differently; the rows themselves are the same bits.
    assert torch.equal(grown.output_weight()[:OLD_TEXT], model.output_weight()[:OLD_TEXT])
    torch.testing.assert_close(grown.logits(after)[..., :OLD_TEXT], model.logits(before), rtol=0, atol=1e-6)


@pytest.mark.parametrize("tie", [True, False])
def test_a_new_row_is_the_mean_of_its_pieces_in_both_tables(tie: bool) -> None:
    model = build(tie=tie)
    grown = with_rows(model, keep(22, id_20=(1, 2, 2), id_21=(5,)))
    for old, new in [(model.embedding.weight, grown.embedding.weight), (model.output_weight(), grown.output_weight())]:
        expected = (old[1].double() + 2 * old[2].double()) / 3
        torch.testing.assert_close(new[20].double(), expected, rtol=1e-6, atol=1e-7)
        assert torch.equal(new[21], old[5])


def test_a_row_nobody_names_is_the_mean_of_all_text_rows() -> None:
    model = build()
    grown = with_rows(model, keep(22))
    expected = model.embedding.weight[:OLD_TEXT].double().mean(dim=0)
    torch.testing.assert_close(grown.embedding.weight[21].double(), expected, rtol=1e-6, atol=1e-7)


def test_image_codes_move_up_as_a_block_and_keep_their_rows() -> None:
    model = build()
    grown = with_rows(model, keep(26))
    assert torch.equal(grown.embedding.weight[26:], model.embedding.weight[OLD_TEXT:])
    assert grown.grid_embedding is not None and model.grid_embedding is not None
    assert torch.equal(grown.grid_embedding.weight, model.grid_embedding.weight)


def test_new_image_codes_are_drawn_around_the_mean_and_differ() -> None:
    model = build(num_codes=0)
    grown = with_rows(model, keep(OLD_TEXT, codes=2000, grid=3), seed=1)
    text, codes = model.embedding.weight, grown.embedding.weight[OLD_TEXT:]
    assert codes.shape == (2000, 16)
    torch.testing.assert_close(codes.mean(dim=0), text.mean(dim=0), rtol=0, atol=0.05)
    torch.testing.assert_close(codes.std(dim=0), text.std(dim=0), rtol=0.1, atol=0)
    assert grown.grid_embedding is not None and grown.grid_embedding.weight.shape == (9, 16)


def test_the_same_seed_draws_the_same_codes() -> None:
    model = build(num_codes=0)
    first, again, other = (with_rows(model, keep(OLD_TEXT, codes=5), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.embedding.weight, again.embedding.weight)
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


def test_the_number_format_of_the_weights_is_kept() -> None:
    model = build().to(torch.bfloat16)
    grown = with_rows(model, keep(22, id_20=(1, 2)))
    assert {p.dtype for p in grown.parameters()} == {torch.bfloat16}
    assert torch.equal(grown.embedding.weight[:OLD_TEXT], model.embedding.weight[:OLD_TEXT])


def test_a_new_token_is_never_more_probable_than_its_pieces_on_average() -> None:
    model = build(tie=False)
    grown = with_rows(model, keep(21, id_20=(1, 2)))
    probs = grown.logits(grown(torch.arange(12)[None])).softmax(dim=-1)
    assert (probs[..., 20] <= probs[..., [1, 2]].mean(dim=-1) + 1e-7).all()
