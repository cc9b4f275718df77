import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from banyan.model.row_groups import RowGroup, attend_by_row

GROUPS = (RowGroup(num_rows=2, seq_len=5, is_causal=True), RowGroup(num_rows=1, seq_len=3))


def some(num_heads: int) -> Tensor:
    return torch.randn(1, num_heads, sum(group.num_tokens for group in GROUPS), 8)


@pytest.mark.parametrize("num_kv_heads", [4, 2])
def test_each_row_attends_to_itself_as_if_it_were_alone(num_kv_heads: int) -> None:
    q, k, v = some(4), some(num_kv_heads), some(num_kv_heads)
    found = attend_by_row(q, k, v, GROUPS)
    for first, last, is_causal in ((0, 5, True), (5, 10, True), (10, 13, False)):
        own = (x[:, :, first:last] for x in (q, k, v))
        expected = F.scaled_dot_product_attention(*own, is_causal=is_causal, enable_gqa=num_kv_heads != 4)
        torch.testing.assert_close(found[:, :, first:last], expected)


def test_nothing_of_a_row_reaches_another() -> None:
    q, k, v = some(4), some(4), some(4)
    before = attend_by_row(q, k, v, GROUPS)
    for x in (q, k, v):
        x[:, :, 5:10] = 1e3
    after = attend_by_row(q, k, v, GROUPS)
    assert torch.equal(after[:, :, :5], before[:, :, :5]) and torch.equal(after[:, :, 10:], before[:, :, 10:])


def test_a_mask_says_what_the_rows_of_a_group_may_read() -> None:
    q, k, v = some(4), some(4), some(4)
    causal = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, 1, 5, 5)
    masked = (RowGroup(num_rows=2, seq_len=5, mask=causal), GROUPS[1])
    torch.testing.assert_close(attend_by_row(q, k, v, masked), attend_by_row(q, k, v, GROUPS))


def test_positions_behind_all_groups_get_nothing_and_give_nothing() -> None:
    q, k, v = some(4), some(4), some(4)
    longer = [F.pad(x, (0, 0, 0, 3), value=7.0) for x in (q, k, v)]
    found = attend_by_row(longer[0], longer[1], longer[2], GROUPS)
    assert torch.equal(found[:, :, :13], attend_by_row(q, k, v, GROUPS)) and not found[:, :, 13:].any()
