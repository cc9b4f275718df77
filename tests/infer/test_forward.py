import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import ContextLengthError
from banyan.core.types import MaskKind, TokenSequence
from banyan.infer.forward import (
    Row,
    attend_until,
    hidden_states,
    padded_len,
    prompt_row,
    read_packed,
    read_padded,
    sequence_row,
)
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.prompts import make_model, picture_prompt, text_prompt

MODEL = make_model()


def rows_strategy() -> st.SearchStrategy[Row]:
    def build(ids: list[int], mask: MaskKind, prefix: float, has_grid: bool) -> Row:
        return Row(
            token_ids=tuple(ids),
            mask=mask,
            prefix_len=1 + int(prefix * (len(ids) - 1)),
            positions=tuple(range(0, len(ids), 2)),
            grid_ids=tuple(t % 9 for t in range(len(ids))) if has_grid else (),
        )

    ids = st.lists(st.integers(0, 335), min_size=1, max_size=12)
    return st.builds(build, ids, st.sampled_from(MaskKind), st.floats(0, 1), st.booleans())


@settings(max_examples=20)
@given(st.lists(rows_strategy(), min_size=1, max_size=6), st.integers(1, 60))
def test_a_row_has_the_same_hidden_states_alone_and_in_a_batch(rows: list[Row], max_batch_tokens: int) -> None:
    with torch.inference_mode():
        together = hidden_states(MODEL, rows, max_batch_tokens=max_batch_tokens)
        for row, found in zip(rows, together, strict=True):
            [alone] = hidden_states(MODEL, [row], max_batch_tokens=1)
            assert found.shape == (len(row.positions), MODEL.config.embed_dim)
            torch.testing.assert_close(found, alone, atol=2e-5, rtol=2e-5)


def test_no_positions_and_no_rows_are_fine() -> None:
    row = Row(token_ids=(1, 2), mask=MaskKind.FULL, prefix_len=2, positions=())
    with torch.inference_mode():
        assert hidden_states(MODEL, [row], max_batch_tokens=10)[0].shape == (0, MODEL.config.embed_dim)
        assert hidden_states(MODEL, [], max_batch_tokens=10) == []


@pytest.mark.parametrize(
    ("mask", "expected"),
    [(MaskKind.CAUSAL, [0, 1, 2, 3]), (MaskKind.PREFIX, [1, 1, 2, 3]), (MaskKind.FULL, [3, 3, 3, 3])],
)
def test_a_mask_says_how_far_each_position_may_read(mask: MaskKind, expected: list[int]) -> None:
    assert attend_until(seq_len=4, mask=mask, prefix_len=2) == expected


def test_an_answer_behind_a_prompt_read_in_full_is_causal() -> None:
    prompt = text_prompt("The banyan", mask=MaskKind.FULL)
    row = prompt_row(prompt, positions=[0], answer_ids=(7, 8))
    assert (row.mask, row.prefix_len, row.token_ids[-2:]) == (MaskKind.PREFIX, len(prompt), (7, 8))


def test_a_training_sequence_keeps_its_mask_and_grid() -> None:
    ids = picture_prompt("x").token_ids
    sequence = TokenSequence(
        task="a",
        token_ids=ids,
        targets=ids,
        loss_weights=(1.0,) * len(ids),
        mask=MaskKind.PREFIX,
        prefix_len=2,
        grid_ids=(0,) * len(ids),
    )
    row = sequence_row(sequence, positions=[1])
    assert (row.mask, row.prefix_len, row.grid_ids) == (MaskKind.PREFIX, 2, sequence.grid_ids)


def test_a_padded_length_holds_the_row_and_wastes_at_most_half_of_it() -> None:
    for seq_len in range(1, 1025):
        padded = padded_len(seq_len, max_seq_len=1000)
        assert padded >= min(seq_len, 1000) and padded in (16, 1000) or padded < 1.5 * seq_len + 16
        assert padded_len(padded, max_seq_len=1000) == padded


def row_of(seq_len: int, mask: MaskKind, *, prefix_len: int = 0, seed: int = 0) -> Row:
    ids = torch.randint(0, 320, (seq_len,), generator=torch.Generator().manual_seed(seed)).tolist()
    return Row(token_ids=tuple(ids), mask=mask, prefix_len=prefix_len, positions=tuple(range(seq_len)))


@settings(max_examples=20)
@given(st.lists(rows_strategy(), min_size=1, max_size=6))
def test_rows_behind_each_other_are_read_as_rows_below_each_other(rows: list[Row]) -> None:
    with torch.inference_mode():
        for packed, padded in zip(read_packed(MODEL, rows), read_padded(MODEL, rows), strict=True):
            torch.testing.assert_close(packed, padded, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("seq_len", [1, 2, 17, 33, 51, 70])
@pytest.mark.parametrize("mask", MaskKind)
def test_a_row_has_the_same_bits_in_any_company(seq_len: int, mask: MaskKind) -> None:
    model = make_model(max_seq_len=80)
    own = row_of(seq_len, mask, prefix_len=seq_len // 2)
    company = [row_of(n, kind, prefix_len=n // 3, seed=n) for n in (1, 5, seq_len, 80, 23) for kind in MaskKind]
    with torch.inference_mode():
        [alone] = hidden_states(model, [own], max_batch_tokens=1)
        for num_others in (1, 4, 15):
            rows = [*company[:num_others], own]
            for max_batch_tokens in (100, 10_000):
                assert torch.equal(hidden_states(model, rows, max_batch_tokens=max_batch_tokens)[-1], alone)


@pytest.mark.parametrize("changes", [{"sliding_window": 4}, {"lookback": 2}, {"position": "learned"}], ids=str)
@pytest.mark.parametrize("mask", MaskKind)
def test_every_kind_of_model_reads_each_of_several_rows_by_itself(changes: dict[str, object], mask: MaskKind) -> None:
    model = tiny_model(tiny_model_config(**changes), std=0.3)
    rows = [row_of(n, mask, prefix_len=n // 2, seed=n) for n in (3, 9, 9, 14)]
    with torch.inference_mode():
        for row, found in zip(rows, hidden_states(model, rows, max_batch_tokens=1000), strict=True):
            until = attend_until(seq_len=len(row), mask=mask, prefix_len=row.prefix_len)
            expected = model(torch.tensor([row.token_ids]), attend_until_BT=torch.tensor([until]))[0]
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


def test_a_row_longer_than_the_model_can_address_is_refused_and_many_rows_are_not() -> None:
    rows = [row_of(48, MaskKind.CAUSAL), row_of(48, MaskKind.CAUSAL)]
    with torch.inference_mode():
        assert len(hidden_states(MODEL, rows, max_batch_tokens=1000)) == 2
        with pytest.raises(ContextLengthError):
            hidden_states(MODEL, [row_of(49, MaskKind.CAUSAL)], max_batch_tokens=1000)
