"""Attention that leaves out whole blocks of keys which no query of a block may read: a GPU's way with packed rows.

It says what a mask of `masks.py` says, without a number for every pair of positions. The kernel is PyTorch's
`flex_attention`, generated when a block of the model is compiled; run as written, it makes all scores.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128  # positions along either side of a block; the kernel's own are parts of it
MIN_HEAD_DIM = 16  # the kernel's smallest product


def block_mask(
    *, segment_ids_BT: Tensor, attend_until_BT: Tensor, sliding_window: int | None = None, block: int = BLOCK
) -> BlockMask:
    """Return which keys each query may read, and which blocks hold none, some, or all of them.

    A query t reads a key s of its own segment if s <= max(t, attend_until[t]) and, with a window, s > t - window. What
    stands in a block is known by its smallest and largest numbers: some blocks are looked into for nothing, but none
    is wrongly left out or read unseen. Nothing waits for the device.
    Shapes: both (B, T).
    """
    seq_len = segment_ids_BT.shape[1]
    window = seq_len if sliding_window is None else sliding_window
    place_T = torch.arange(seq_len, device=segment_ids_BT.device)
    # Padding stands behind all else, and so does its number: a block of it lies far from the first segments.
    segments_BT = torch.where(segment_ids_BT < 0, seq_len, segment_ids_BT).int()
    last_BT = torch.maximum(attend_until_BT, place_T).int()

    def may_read(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        is_own = segments_BT[row, query] == segments_BT[row, key]
        return is_own & (key <= last_BT[row, query]) & (key > query - window)

    some_BNN, all_BNN = _kinds_of_blocks(segments_BT, last_BT, place_T[None].int(), window=window, block=block)
    listed = (*_listed(some_BNN & ~all_BNN), *_listed(all_BNN))
    return BlockMask.from_kv_blocks(*listed, BLOCK_SIZE=block, mask_mod=may_read, seq_lengths=(seq_len, seq_len))


def attend_blockwise(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, blocks: BlockMask) -> Tensor:
    """Let every query gather the values of the keys it may read, in the number format of the values.

    Normed and turned, queries and keys are float32 also where the products are in bfloat16: PyTorch's own attention
    casts them back by itself, its flexible one refuses them.
    Shapes: q (B, H, T, K); k, v (B, G, T, K); returns (B, H, T, K).
    Source: Dong et al. 2024 (FlexAttention).
    """
    is_grouped = q_BHTK.shape[1] != k_BGTK.shape[1]
    q_BHTK, k_BGTK = q_BHTK.to(v_BGTK.dtype), k_BGTK.to(v_BGTK.dtype)
    mixed: Tensor = flex_attention(q_BHTK, k_BGTK, v_BGTK, block_mask=blocks, enable_gqa=is_grouped)
    return mixed


def _kinds_of_blocks(
    segments_BT: Tensor, last_BT: Tensor, place_1T: Tensor, *, window: int, block: int
) -> tuple[Tensor, Tensor]:
    """Return for each block of queries and each of keys whether some pair may read, and whether all pairs may.

    Shapes: returns two of (B, N, N).
    """
    segments, last, place = (_bounds(values, block=block) for values in (segments_BT, last_BT, place_1T))
    first_query, final_query = place[0][:, :, None], place[1][:, :, None]
    first_key, final_key = place[0][:, None], place[1][:, None]
    lowest, highest = segments
    is_met = (lowest[:, :, None] <= highest[:, None]) & (lowest[:, None] <= highest[:, :, None])
    some = is_met & (first_key <= last[1][:, :, None]) & (final_key > first_query - window)
    is_one, is_complete = lowest == highest, place[1] - place[0] == block - 1
    is_one_segment = is_met & is_one[:, :, None] & is_one[:, None]
    is_readable = is_one_segment & (final_key <= last[0][:, :, None]) & (first_key > final_query - window)
    return some, is_readable & is_complete[:, :, None] & is_complete[:, None]


def _bounds(values_BT: Tensor, *, block: int) -> tuple[Tensor, Tensor]:
    """Return the smallest and the largest number of each block; shapes: int32 (B, T); returns two of (B, N)."""
    missing, limits = -values_BT.shape[1] % block, torch.iinfo(values_BT.dtype)
    low_BT, high_BT = (F.pad(values_BT, (0, missing), value=value) for value in (limits.max, limits.min))
    return torch.unflatten(low_BT, 1, (-1, block)).amin(dim=2), torch.unflatten(high_BT, 1, (-1, block)).amax(dim=2)


def _listed(chosen_BNN: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks of keys each block of queries has, and their numbers, these first: (B, 1, N), (…, N)."""
    chosen_B1NN = chosen_BNN[:, None].int()
    order = torch.argsort(chosen_B1NN, dim=-1, descending=True, stable=True)
    return chosen_B1NN.sum(dim=-1, dtype=torch.int32), order.int()
