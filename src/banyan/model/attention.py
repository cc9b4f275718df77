"""Self-attention with grouped heads, rotary positions and an optional cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask

from banyan.model.blockwise import attend_blockwise
from banyan.model.cache_spans import AnyPass, attend_by_span
from banyan.model.config import ModelConfig
from banyan.model.linear import Linear
from banyan.model.low_rank import AdapterPass, through
from banyan.model.rope import rotate
from banyan.model.row_groups import RowGroup, attend_by_row


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionPlan:
    """What all layers share in one forward pass, worked out once."""

    mask: Tensor | None  # (B or 1, 1, T, S), True where a key may be read; None: itself and those before it
    rope: tuple[Tensor, Tensor] | None  # cosines and signed sines
    cache: AnyPass | None
    adapters: AdapterPass | None = None
    blocks: BlockMask | None = None  # what a mask would say, where compiled code leaves out whole blocks
    row_groups: tuple[RowGroup, ...] | None = None  # of rows that lie behind each other in the one row of the pass


class Attention(nn.Module):
    """Let every position gather what it needs from the positions it may see.

    Queries, keys and values come from one matrix, so that one product makes all three.
    Source: Vaswani et al. 2017; grouped heads, Ainslie et al. 2023; QK-norm, Henry et al. 2020.
    """

    def __init__(self, config: ModelConfig, *, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads = config.num_heads
        self.num_kv_heads = config.num_kv_heads
        self.head_dim = config.head_dim
        self.norm_eps = config.norm_eps
        num_projected = config.num_heads + 2 * config.num_kv_heads
        self.qkv = Linear(config.embed_dim, num_projected * config.head_dim, bias=config.attention_bias)
        self.output = Linear(config.num_heads * config.head_dim, config.embed_dim, bias=config.output_bias)
        self.has_qk_norm = config.qk_norm != "none"
        has_gain = config.qk_norm == "gain"
        self.q_gain = nn.Parameter(torch.ones(config.head_dim)) if has_gain else None
        self.k_gain = nn.Parameter(torch.ones(config.head_dim)) if has_gain else None

    def forward(self, x_BTD: Tensor, plan: AttentionPlan) -> Tensor:
        """Shapes: x (B, T, D); returns (B, T, D)."""
        qk_BTHK, v_BTGK = self._project(x_BTD, plan.adapters)
        if self.has_qk_norm:
            qk_BTHK = self._normalise(qk_BTHK)
        if plan.rope is not None:
            qk_BTHK = rotate(qk_BTHK, *plan.rope)
        q_BTHK, k_BTGK = qk_BTHK[:, :, : self.num_heads], qk_BTHK[:, :, self.num_heads :]
        if plan.cache is None:
            k_BGSK, v_BGSK = k_BTGK.transpose(1, 2), v_BTGK.transpose(1, 2)
        else:
            k_BGSK, v_BGSK = plan.cache.append(self.layer, k_BTGK, v_BTGK)
        mixed_BHTK = self._attend(q_BTHK.transpose(1, 2), k_BGSK, v_BGSK, plan)
        return through(self.output, mixed_BHTK.transpose(1, 2).flatten(2), plan.adapters)

    def scores(self, x_BTD: Tensor, plan: AttentionPlan) -> Tensor:
        """Return what the softmax would be taken of, for whoever wants to look; later keys and other segments are -inf.

        Shapes: x (B, T, D); returns (B, H, T, T).
        """
        qk_BTHK, _ = self._project(x_BTD, plan.adapters)
        qk_BTHK = self._normalise(qk_BTHK) if self.has_qk_norm else qk_BTHK
        qk_BTHK = rotate(qk_BTHK, *plan.rope) if plan.rope is not None else qk_BTHK
        q_BHTK, k_BGTK = torch.split(qk_BTHK.transpose(1, 2), [self.num_heads, self.num_kv_heads], dim=1)
        k_BHTK = k_BGTK.repeat_interleave(self.num_heads // self.num_kv_heads, dim=1)
        scores_BHTT: Tensor = q_BHTK @ k_BHTK.mT / self.head_dim**0.5
        seq_len = x_BTD.shape[1]
        mask = torch.ones(seq_len, seq_len, dtype=torch.bool, device=x_BTD.device).tril()
        return scores_BHTT.masked_fill(~(mask if plan.mask is None else plan.mask), -torch.inf)

    def _project(self, x_BTD: Tensor, adapters: AdapterPass | None = None) -> tuple[Tensor, Tensor]:
        """Return queries and keys side by side as heads (B, T, H + G, K), and values (B, T, G, K)."""
        qkv = torch.unflatten(through(self.qkv, x_BTD, adapters), -1, (-1, self.head_dim))
        num_qk = self.num_heads + self.num_kv_heads
        return qkv[:, :, :num_qk], qkv[:, :, num_qk:]

    def _normalise(self, qk_BTHK: Tensor) -> Tensor:
        normed = F.rms_norm(qk_BTHK, (self.head_dim,), None, self.norm_eps)
        if self.q_gain is None or self.k_gain is None:
            return normed
        gain_HK = torch.cat(
            (self.q_gain.expand(self.num_heads, -1), self.k_gain.expand(self.num_kv_heads, -1)),
        )
        return normed * gain_HK

    def _attend(self, q_BHTK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, plan: AttentionPlan) -> Tensor:
        if plan.blocks is not None:
            return attend_blockwise(q_BHTK, k_BGSK, v_BGSK, plan.blocks)
        if plan.row_groups is not None:
            return attend_by_row(q_BHTK, k_BGSK, v_BGSK, plan.row_groups)
        if plan.cache is not None and plan.cache.spans is not None:
            return attend_by_span(q_BHTK, k_BGSK, v_BGSK, plan.cache.spans)
        is_grouped = self.num_kv_heads != self.num_heads
        return F.scaled_dot_product_attention(
            q_BHTK, k_BGSK, v_BGSK, attn_mask=plan.mask, is_causal=plan.mask is None, enable_gqa=is_grouped
        )
