"""What all layers of one forward pass share, worked out once: positions, angles, and who may read whom."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from banyan.core.errors import ContextLengthError, ShapeError
from banyan.model.attention import AttentionPlan
from banyan.model.blockwise import BLOCK, block_mask
from banyan.model.cache_spans import CacheSpans
from banyan.model.config import ModelConfig
from banyan.model.kv_cache import CacheRows
from banyan.model.masks import attention_mask
from banyan.model.rope import RopeTable
from banyan.model.row_groups import RowGroup


class PassPlanner:
    """Plans the passes of one model."""

    is_blockwise = False  # who reads whom is said by the block: where compiled code on a GPU asks for it

    def __init__(self, config: ModelConfig) -> None:
        self._config = config
        self._rope = RopeTable(config) if config.position == "rope" else None

    def plan(
        self,
        token_ids_BT: Tensor,
        position_ids_BT: Tensor | None,
        segment_ids_BT: Tensor | None,
        attend_until_BT: Tensor | None,
        *,
        dtype: torch.dtype,
        cache: CacheRows | CacheSpans | None = None,
        is_causal: bool = False,
        row_groups: Sequence[RowGroup] | None = None,
    ) -> tuple[Tensor, AttentionPlan]:
        """Return the position of every token and the plan of the pass; of the tokens only the shape counts.

        `is_causal` says that segments and `attend_until` leave every position itself and all before it; `row_groups`
        say all about who reads whom, and need positions that begin anew in each row.
        Shapes: all (B, T); returns (B or 1, T).
        Raises: ContextLengthError if the tokens do not fit into max_seq_len; ShapeError if a cache is given together
        with positions or segments.
        """
        if row_groups is not None:
            return self._plan_groups(position_ids_BT, row_groups, dtype=dtype)
        if cache is None:
            return self._plan_whole(
                token_ids_BT, position_ids_BT, segment_ids_BT, attend_until_BT, dtype=dtype, is_causal=is_causal
            )
        if position_ids_BT is not None or segment_ids_BT is not None:
            raise ShapeError("position_ids and segment_ids cannot be given with a cache: each slot is one segment.")
        num_rows, seq_len = token_ids_BT.shape
        cache_pass = cache.begin(num_rows=num_rows, seq_len=seq_len)
        positions_BT = cache_pass.position_ids_BT
        rope, mask = self._angles(positions_BT, dtype), cache_pass.mask(attend_until_BT)
        return positions_BT, AttentionPlan(mask=mask, rope=rope, cache=cache_pass)

    def _plan_whole(
        self,
        token_ids_BT: Tensor,
        position_ids: Tensor | None,
        segment_ids: Tensor | None,
        attend_until: Tensor | None,
        *,
        dtype: torch.dtype,
        is_causal: bool,
    ) -> tuple[Tensor, AttentionPlan]:
        seq_len, device = token_ids_BT.shape[1], token_ids_BT.device
        self._check_length(seq_len)
        position_ids = torch.arange(seq_len, device=device)[None] if position_ids is None else position_ids
        rope, window = self._angles(position_ids, dtype), self._config.sliding_window
        has_window = window is not None and window < seq_len
        pays = self.is_blockwise and seq_len > BLOCK and (has_window or not is_causal)
        if pays and segment_ids is not None and attend_until is not None:
            blocks = block_mask(segment_ids_BT=segment_ids, attend_until_BT=attend_until, sliding_window=window)
            return position_ids, AttentionPlan(mask=None, rope=rope, cache=None, blocks=blocks)
        mask = attention_mask(
            seq_len=seq_len,
            segment_ids_BT=segment_ids,
            attend_until_BT=attend_until,
            sliding_window=window,
            is_causal=is_causal,
            device=device,
        )
        return position_ids, AttentionPlan(mask=mask, rope=rope, cache=None)

    def _plan_groups(
        self, position_ids_BT: Tensor | None, row_groups: Sequence[RowGroup], *, dtype: torch.dtype
    ) -> tuple[Tensor, AttentionPlan]:
        assert position_ids_BT is not None
        self._check_length(max(group.seq_len for group in row_groups))
        rope = self._angles(position_ids_BT, dtype)
        return position_ids_BT, AttentionPlan(mask=None, rope=rope, cache=None, row_groups=tuple(row_groups))

    def _angles(self, position_ids: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        return None if self._rope is None else self._rope.at(position_ids, dtype=dtype)

    def _check_length(self, seq_len: int) -> None:
        if seq_len > self._config.max_seq_len:
            raise ContextLengthError(
                f"{seq_len} tokens are more than the model can address (max_seq_len={self._config.max_seq_len}).",
                num_prompt_tokens=seq_len,
                max_seq_len=self._config.max_seq_len,
            )
