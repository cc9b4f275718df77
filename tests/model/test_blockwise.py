import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_mask

from banyan.model.blockwise import attend_blockwise, block_mask
from banyan.model.masks import attention_mask

SEQ_LEN, BLOCK = 22, 4  # the last block is not whole
ROWS = {
    "packed": [(9, 0), (5, 0), (8, 0)],
    "prefix": [(14, 9), (4, 2), (4, 0)],
    "full": [(13, 13), (9, 9)],
    "padded": [(6, 0), (5, 5), (3, 2)],
    "causal": [(22, 0)],
    "empty": [],
}


def rows() -> dict[str, torch.Tensor]:
    """Every kind of row, from the length of each segment and of the part that reads in both directions."""
    segments = torch.full((len(ROWS), SEQ_LEN), -1)
    until = torch.arange(SEQ_LEN).repeat(len(ROWS), 1)
    for row, lengths in enumerate(ROWS.values()):
        start = 0
        for segment, (length, prefix) in enumerate(lengths):
            segments[row, start : start + length] = segment
            until[row, start : start + prefix] = start + prefix - 1
            start += length
    return {"segment_ids_BT": segments, "attend_until_BT": until}


@pytest.mark.parametrize("window", [None, 6, 40])
def test_the_mask_of_every_pair_is_the_one_that_other_attention_uses(window: int | None) -> None:
    blocks = block_mask(**rows(), sliding_window=window, block=BLOCK)
    found = create_mask(blocks.mask_mod, len(ROWS), 1, SEQ_LEN, SEQ_LEN, device="cpu")
    expected = attention_mask(seq_len=SEQ_LEN, sliding_window=window, **rows())
    assert expected is not None and torch.equal(found, expected)


@pytest.mark.parametrize("window", [None, 6, 40])
def test_no_block_is_left_out_or_read_unseen_that_must_not_be(window: int | None) -> None:
    blocks = block_mask(**rows(), sliding_window=window, block=BLOCK)
    mask = attention_mask(seq_len=SEQ_LEN, sliding_window=window, **rows())
    assert mask is not None
    missing = -SEQ_LEN % BLOCK
    tiles = F.pad(mask, (0, missing, 0, missing)).unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK)).sum(dim=(3, 5))
    partial = listed(blocks.kv_num_blocks, blocks.kv_indices)
    whole = listed(blocks.full_kv_num_blocks, blocks.full_kv_indices)
    assert not (partial & whole).any()
    assert torch.equal(whole, tiles == BLOCK * BLOCK)
    assert (partial | whole)[tiles > 0].all()
    assert (partial & (tiles == 0)).sum() <= partial.sum() // 5  # looked into for nothing


def listed(counts: torch.Tensor | None, indices: torch.Tensor | None) -> torch.Tensor:
    """The lists of blocks as a table of booleans."""
    assert counts is not None and indices is not None
    table = torch.zeros(indices.shape, dtype=torch.bool)
    for place in torch.cartesian_prod(*map(torch.arange, counts.shape)).tolist():
        table[(*place, indices[(*place,)][: counts[(*place,)]].long())] = True
    return table


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("window", "num_kv_heads"), [(None, 4), (6, 2)], ids=["no window", "window and groups"])
def test_attention_by_the_block_gives_what_attention_with_a_mask_gives(window: int | None, num_kv_heads: int) -> None:
    q, k, v = (torch.randn(len(ROWS), heads, SEQ_LEN, 8) for heads in (4, num_kv_heads, num_kv_heads))
    mask = attention_mask(seq_len=SEQ_LEN, sliding_window=window, **rows())
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=num_kv_heads != 4)
    found = attend_blockwise(q, k, v, block_mask(**rows(), sliding_window=window))
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_float32_queries_and_keys_meet_values_in_bfloat16() -> None:
    q, k, v = torch.randn(3, len(ROWS), 2, SEQ_LEN, 8)
    found = attend_blockwise(q, k, v.bfloat16(), block_mask(**rows()))
    assert found.dtype == torch.bfloat16
