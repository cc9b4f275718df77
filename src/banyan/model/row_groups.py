"""Rows of different lengths that lie behind each other in one: each attends to itself, those of one length together.

So the products of a layer run once over all tokens and nothing is padded; only attention knows where a row ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class RowGroup:
    """Neighbouring rows of one length whose positions see each other in the same way."""

    num_rows: int
    seq_len: int
    mask: Tensor | None = None  # (num_rows, 1, T, T), True where a key may be read
    is_causal: bool = False  # without a mask: a position reads itself and all before it; False: all of its row

    @property
    def num_tokens(self) -> int:
        """Positions of all of its rows."""
        return self.num_rows * self.seq_len

    def apart(self, x_1HNK: Tensor) -> Tensor:
        """Return the rows one by one, without a copy.

        Shapes: (1, H, rows · T, K); returns (rows, H, T, K).
        """
        return torch.unflatten(x_1HNK[0], 1, (self.num_rows, self.seq_len)).transpose(0, 1)


def attend_by_row(q_1HNK: Tensor, k_1GNK: Tensor, v_1GNK: Tensor, groups: Sequence[RowGroup]) -> Tensor:
    """Let every position gather what it needs from the positions of its own row; those behind all groups get nothing.

    Shapes: q (1, H, N, K); k, v (1, G, N, K), N the positions of all groups or more; returns (1, H, N, K).
    """
    _, num_heads, num_tokens, head_dim = q_1HNK.shape
    is_grouped = num_heads != k_1GNK.shape[1]
    lengths = [group.num_tokens for group in groups]
    num_idle = num_tokens - sum(lengths)
    parts = zip(*(torch.split(x, [*lengths, num_idle], dim=2) for x in (q_1HNK, k_1GNK, v_1GNK)), strict=True)
    found = []
    for group, qkv in zip(groups, parts, strict=False):
        q, k, v = map(group.apart, qkv)
        mixed_BHTK = F.scaled_dot_product_attention(
            q, k, v, attn_mask=group.mask, is_causal=group.is_causal, enable_gqa=is_grouped
        )
        found.append(mixed_BHTK.transpose(1, 2).flatten(0, 1))
    return torch.cat([*found, q_1HNK.new_zeros(num_idle, num_heads, head_dim)])[None].transpose(1, 2)
