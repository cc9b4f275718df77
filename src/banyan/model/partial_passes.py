"""Parts of a forward pass: the states of every layer on the way, or only the last blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from banyan.model.row_groups import RowGroup
from banyan.model.transformer import Transformer


def onward(
    model: Transformer,
    x_BTD: Tensor,
    *,
    first_block: int,
    position_ids_BT: Tensor | None = None,
    segment_ids_BT: Tensor | None = None,
    attend_until_BT: Tensor | None = None,
    noise_seeds_B: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    """Return what `forward` returns, from the hidden states that it gives with `num_blocks` of `first_block`.

    Shapes: x (B, T, D), and as `forward`; returns (B, T, D).
    Raises: ContextLengthError if the tokens do not fit into max_seq_len.
    """
    if first_block == model.config.num_layers:
        return x_BTD
    like_BT = x_BTD[..., 0]
    _, plan = model.planner.plan(
        like_BT, position_ids_BT, segment_ids_BT, attend_until_BT, dtype=model.dtype, is_causal=is_causal
    )
    noise_keys_BT = model.noise_keys(like_BT.shape, noise_seeds_B)
    plan = model.adapters.join(plan, None, x_BTD=x_BTD, noise_keys_BT=noise_keys_BT)
    block_keys_BT = noise_keys_BT if model.config.dropout else None
    for block in model.blocks[first_block:]:
        x_BTD = block(x_BTD, plan, block_keys_BT)
    return model.final_norm(x_BTD)  # type: ignore[no-any-return]


def layers(
    model: Transformer,
    token_ids_BT: Tensor,
    *,
    position_ids_BT: Tensor | None = None,
    attend_until_BT: Tensor | None = None,
    grid_ids_BT: Tensor | None = None,
    adapters_B: Sequence[str | None] | None = None,
    row_groups: Sequence[RowGroup] | None = None,
) -> Iterator[Tensor]:
    """Yield the hidden states of every position layer by layer, in one pass: what `num_blocks` of 0, 1, 2 … gives.

    `row_groups` say that the one row given is many, one behind the other: they stand in the place of `attend_until`,
    positions must be given, and `adapters` name the one of each token.
    Shapes: as `forward`; yields num_layers + 1 tensors (B, T, D).
    Raises: ContextLengthError if the tokens do not fit into max_seq_len.
    """
    given = (token_ids_BT, position_ids_BT, None, attend_until_BT)
    position_ids_BT, plan = model.planner.plan(*given, dtype=model.dtype, row_groups=row_groups)
    x_BTD = model.embed(token_ids_BT, position_ids_BT, grid_ids_BT, cache=None)
    plan = model.adapters.join(plan, adapters_B, x_BTD=x_BTD)
    for block in model.blocks:
        yield x_BTD
        x_BTD = block(x_BTD, plan)
    yield model.final_norm(x_BTD)
