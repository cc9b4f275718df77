import pytest
import torch

from banyan.core.errors import ConfigError, ContextLengthError, ShapeError
from banyan.core.types import NO_GRID, HeadKind, HeadSpec, MaskKind
from banyan.model.kv_cache import KVCache
from banyan.model.transformer import Transformer, count_parameters
from banyan.testing.models import tiny_model, tiny_model_config

PAD = -1
SHAPES = {
    "rope": {},
    "learned": {"position": "learned", "norm": "layer", "activation": "gelu_tanh", "qk_norm": "none"},
    "window": {"sliding_window": 3},
    "lookback": {"lookback": 2},
}


def random_ids(*shape: int, high: int = 320, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


def last_seen(mask: MaskKind, *, length: int, prefix_len: int) -> torch.Tensor:
    own = torch.arange(length)
    if mask is MaskKind.FULL:
        return torch.full((length,), length - 1)
    return torch.where(own < prefix_len, prefix_len - 1, own) if mask is MaskKind.PREFIX else own


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_a_packed_segment_has_the_same_hidden_states_as_alone(shape: str) -> None:
    model = tiny_model(tiny_model_config(**SHAPES[shape]))
    parts = [(MaskKind.PREFIX, 7, 4), (MaskKind.CAUSAL, 5, 0), (MaskKind.FULL, 6, 0), (MaskKind.PREFIX, 4, 3)]
    token_ids, position_ids, segment_ids, attend_until = [], [], [], []
    for segment, (mask, length, prefix_len) in enumerate(parts):
        start = sum(len(ids) for ids in token_ids)
        token_ids.append(random_ids(length, seed=segment))
        position_ids.append(torch.arange(length))
        segment_ids.append(torch.full((length,), segment))
        attend_until.append(last_seen(mask, length=length, prefix_len=prefix_len) + start)
    padding = torch.tensor([PAD, PAD])
    packed = model(
        torch.cat([*token_ids, padding.clamp(min=0)])[None],
        position_ids_BT=torch.cat([*position_ids, padding.clamp(min=0)])[None],
        segment_ids_BT=torch.cat([*segment_ids, padding])[None],
        attend_until_BT=torch.cat([*attend_until, padding])[None],
    )[0]
    assert packed.isfinite().all()
    start = 0
    for segment, (mask, length, prefix_len) in enumerate(parts):
        until = last_seen(mask, length=length, prefix_len=prefix_len)
        alone = model(token_ids[segment][None], attend_until_BT=until[None])[0]
        torch.testing.assert_close(packed[start : start + length], alone, atol=1e-5, rtol=1e-4)
        start += length


@torch.no_grad()
def test_the_prefix_reads_itself_in_both_directions_and_never_the_answer() -> None:
    model, token_ids = tiny_model(), random_ids(1, 8)
    until = last_seen(MaskKind.PREFIX, length=8, prefix_len=5)[None]
    before = model(token_ids, attend_until_BT=until)
    changed_source, changed_answer = token_ids.clone(), token_ids.clone()
    changed_source[0, 4] += 1
    changed_answer[0, 6] += 1
    assert not torch.allclose(model(changed_source, attend_until_BT=until)[0, 0], before[0, 0])
    after = model(changed_answer, attend_until_BT=until)
    torch.testing.assert_close(after[0, :6], before[0, :6])
    assert not torch.allclose(after[0, 7], before[0, 7])


@torch.no_grad()
def test_padding_changes_nothing_for_the_real_positions() -> None:
    model, token_ids = tiny_model(), random_ids(1, 6)
    alone = model(token_ids)
    padded = torch.cat([token_ids, random_ids(1, 4, seed=1)], dim=1)
    segment_ids = torch.tensor([[0] * 6 + [PAD] * 4])
    torch.testing.assert_close(model(padded, segment_ids_BT=segment_ids)[:, :6], alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_grid_id_adds_the_row_of_its_cell_and_no_grid_adds_nothing() -> None:
    model = tiny_model(tiny_model_config(num_image_codes=16, grid_size=2))
    token_ids = random_ids(1, 5)
    none = torch.full((1, 5), NO_GRID)
    torch.testing.assert_close(model(token_ids, grid_ids_BT=none), model(token_ids))
    model.grid_embedding.weight[3] = 0.0
    cells = torch.tensor([[NO_GRID, 3, NO_GRID, 3, 3]])
    torch.testing.assert_close(model(token_ids, grid_ids_BT=cells), model(token_ids))
    cells[0, 2] = 1
    changed = model(token_ids, grid_ids_BT=cells)
    torch.testing.assert_close(changed[:, :2], model(token_ids)[:, :2])
    assert not torch.allclose(changed[:, 2], model(token_ids)[:, 2])


@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_words_and_pictures_share_one_table_of_rows(tie_embeddings: bool) -> None:
    model = tiny_model(tiny_model_config(num_image_codes=16, grid_size=2, tie_embeddings=tie_embeddings))
    hidden = model(random_ids(1, 3))
    table = model.embedding.weight if tie_embeddings else model.word_head.weight
    every = hidden @ table.T
    torch.testing.assert_close(model.logits(hidden), every[..., :304])
    torch.testing.assert_close(model.image_logits(hidden), every[..., 304:])


def test_the_softcap_bounds_the_logits_and_keeps_their_order() -> None:
    model = tiny_model(tiny_model_config(logit_softcap=2.0))
    hidden = 10 * model(random_ids(1, 3))
    logits, plain = model.logits(hidden), hidden @ model.embedding.weight.T
    assert logits.abs().max() <= 2.0
    torch.testing.assert_close(logits, 2.0 * torch.tanh(plain / 2.0))


def test_heads_score_hidden_states_of_any_shape() -> None:
    heads = [HeadSpec(name="area", kind=HeadKind.CLASSIFICATION, labels=("a", "b", "c"))]
    model = tiny_model(heads=heads)
    assert model.head_specs == tuple(heads)
    assert model.head_logits("area", model(random_ids(2, 3))).shape == (2, 3, 3)


def test_every_weight_receives_a_gradient() -> None:
    heads = [HeadSpec(name="area", kind=HeadKind.CLASSIFICATION, labels=("a", "b"))]
    config = tiny_model_config(num_image_codes=16, grid_size=2, tie_embeddings=False)
    model = tiny_model(config, heads)
    hidden = model(random_ids(2, 7), grid_ids_BT=torch.tensor([[0, 1, 2, 3, NO_GRID, NO_GRID, NO_GRID]] * 2))
    sums = [model.logits(hidden).logsumexp(-1), model.image_logits(hidden).logsumexp(-1)]
    (sum(part.sum() for part in sums) + model.head_logits("area", hidden).square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_dropout_acts_in_training_only() -> None:
    model, token_ids = tiny_model(tiny_model_config(dropout=0.5)), random_ids(1, 6)
    torch.testing.assert_close(model(token_ids), model(token_ids))
    model.train()
    assert not torch.allclose(model(token_ids), model(token_ids))


@torch.no_grad()
def test_plain_and_packed_batches_can_be_compiled_whole() -> None:
    model, token_ids = tiny_model(), random_ids(2, 6)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    segment_ids, until = torch.tensor([[0, 0, 1, 1, 1, PAD]] * 2), torch.arange(6).expand(2, 6)
    torch.testing.assert_close(compiled(token_ids), model(token_ids))
    packed = compiled(token_ids, segment_ids_BT=segment_ids, attend_until_BT=until)
    torch.testing.assert_close(packed, model(token_ids, segment_ids_BT=segment_ids, attend_until_BT=until))


def test_a_row_longer_than_the_model_can_address_is_refused_with_both_numbers() -> None:
    with pytest.raises(ContextLengthError, match=r"65 tokens .*max_seq_len=64") as caught:
        tiny_model()(random_ids(1, 65))
    assert (caught.value.num_prompt_tokens, caught.value.max_seq_len) == (65, 64)


def test_a_tied_model_counts_its_table_once() -> None:
    tied, free = (Transformer(tiny_model_config(tie_embeddings=tie)) for tie in (True, False))
    assert count_parameters(free) - count_parameters(tied) == 320 * 32


@torch.no_grad()
def test_a_part_of_the_blocks_reads_packed_rows() -> None:
    model, parts = tiny_model(), [random_ids(1, 5), random_ids(1, 4, seed=1)]
    packed = model(
        torch.cat(parts, dim=1),
        position_ids_BT=torch.tensor([[*range(5), *range(4)]]),
        segment_ids_BT=torch.tensor([[0] * 5 + [1] * 4]),
        num_blocks=1,
    )
    alone = torch.cat([model(part, num_blocks=1) for part in parts], dim=1)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_number_of_blocks_that_cannot_be_read_is_refused() -> None:
    model = tiny_model()
    with pytest.raises(ConfigError, match=r"num_blocks=3 must lie in 0\.\.2"):
        model(random_ids(1, 4), num_blocks=3)
    with pytest.raises(ShapeError, match="would lack their keys"):
        model(random_ids(1, 4), num_blocks=1, cache=KVCache(model.config, num_slots=1).rows([0]))
