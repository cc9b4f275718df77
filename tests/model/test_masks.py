import pytest
import torch

from banyan.model.masks import attention_mask

SEGMENTS = [[0, 0, 0, 0, 1, 1, 1, -1], [0, 0, 0, 0, 0, 0, 0, 0]]
UNTIL = [[1, 1, 2, 3, 6, 6, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7]]  # prefix, then full; causal


@pytest.mark.parametrize("window", [None, 3])
def test_the_mask_says_what_its_docstring_says(window: int | None) -> None:
    mask = attention_mask(
        seq_len=8,
        segment_ids_BT=torch.tensor(SEGMENTS),
        attend_until_BT=torch.tensor(UNTIL),
        sliding_window=window,
    )
    assert mask is not None and mask.shape == (2, 1, 8, 8)
    for row in range(2):
        for t in range(8):
            for s in range(8):
                is_near = window is None or s > t - window
                is_own = SEGMENTS[row][t] == SEGMENTS[row][s]
                assert bool(mask[row, 0, t, s]) == (is_own and s <= max(t, UNTIL[row][t]) and is_near)


def test_every_query_sees_at_least_itself() -> None:
    mask = attention_mask(seq_len=8, segment_ids_BT=torch.tensor(SEGMENTS), sliding_window=1)
    assert mask is not None and mask.diagonal(dim1=-2, dim2=-1).all()


def test_no_mask_is_built_where_causal_says_the_same() -> None:
    causal = torch.arange(4).expand(2, 4)
    assert attention_mask(seq_len=4) is None
    assert attention_mask(seq_len=4, sliding_window=4) is None
    assert attention_mask(seq_len=4, segment_ids_BT=torch.zeros(2, 4), attend_until_BT=causal) is None


def test_values_that_cannot_be_looked_at_need_no_mask_where_somebody_has_looked_before() -> None:
    away = torch.zeros(2, 4, dtype=torch.int64, device="meta")
    given = {"seq_len": 4, "segment_ids_BT": away, "attend_until_BT": away, "device": away.device}
    assert attention_mask(**given) is not None
    assert attention_mask(**given, is_causal=True) is None
    assert attention_mask(**given, is_causal=True, sliding_window=2) is not None


def test_padding_on_the_right_needs_no_mask_and_on_the_left_does() -> None:
    assert attention_mask(seq_len=4, segment_ids_BT=torch.tensor([[0, 0, -1, -1]])) is None
    assert attention_mask(seq_len=4, segment_ids_BT=torch.tensor([[-1, -1, 0, 0]])) is not None
    assert attention_mask(seq_len=4, segment_ids_BT=torch.tensor([[0, 0, 1, 1]])) is not None


def test_one_position_that_looks_ahead_needs_a_mask() -> None:
    assert attention_mask(seq_len=4, attend_until_BT=torch.tensor([[0, 1, 2, 3], [1, 1, 2, 3]])) is not None
