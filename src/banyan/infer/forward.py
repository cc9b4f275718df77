"""One forward pass over rows of different lengths, without a cache, keeping only the positions somebody asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from banyan.core.types import NO_GRID, MaskKind, Prompt, TokenSequence
from banyan.model.partial_passes import layers
from banyan.model.transformer import Transformer

# Lengths that rows are padded to: each length has kernels of its own, and these round what they sum in their own order.
SHORTEST = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Tokens to read, how they see each other, and the positions whose hidden states are wanted."""

    token_ids: tuple[int, ...]
    mask: MaskKind
    prefix_len: int  # tokens read in both directions under PREFIX
    positions: tuple[int, ...]
    grid_ids: tuple[int, ...] = ()
    layers: tuple[int, ...] = ()  # after how many blocks the positions are wanted; empty: after all, in one tensor
    averages: bool = False  # keep the mean of the positions in place of each, as one position
    adapter: str | None = None  # that it goes through

    def __len__(self) -> int:
        return len(self.token_ids)


def prompt_row(prompt: Prompt, *, positions: Sequence[int], answer_ids: Sequence[int] = ()) -> Row:
    """Return a prompt, or a prompt with an answer behind it, as a row; the answer is read causally."""
    return Row(
        token_ids=(*prompt.token_ids, *answer_ids),
        mask=MaskKind.PREFIX if prompt.mask is MaskKind.FULL else prompt.mask,
        prefix_len=len(prompt),
        positions=tuple(positions),
        grid_ids=(*prompt.grid_ids, *[NO_GRID] * len(answer_ids)) if prompt.grid_ids else (),
    )


def sequence_row(sequence: TokenSequence, *, positions: Sequence[int]) -> Row:
    """Return a training sequence as a row, seen exactly as in training."""
    return Row(
        token_ids=sequence.token_ids,
        mask=sequence.mask,
        prefix_len=sequence.prefix_len,
        positions=tuple(positions),
        grid_ids=sequence.grid_ids,
    )


def attend_until(*, seq_len: int, mask: MaskKind, prefix_len: int) -> list[int]:
    """Return the last position each position may read, beyond those before it."""
    if mask is MaskKind.FULL:
        prefix_len = seq_len
    if mask is MaskKind.CAUSAL:
        prefix_len = 0
    return [prefix_len - 1 if t < prefix_len else t for t in range(seq_len)]


def hidden_states(model: Transformer, rows: Sequence[Row], *, max_batch_tokens: int) -> list[Tensor]:
    """Read rows in batches of similar length and return each row's wanted hidden states.

    A row is read with rows that are padded to the same length, and so its states have the same bits alone and in any
    company (measured in float32 on the CPU with torch 2.13; among other lengths, or padded to others, they differ).
    Shapes: one (P, D) for each row, P its number of positions; (N, P, D) for a row that names N layers.
    Units:  max_batch_tokens counts padding too; a single longer row makes its own batch.
    """
    found: list[Tensor | None] = [None] * len(rows)
    limit = model.config.max_seq_len
    for batch in _batches(rows, max_batch_tokens=max_batch_tokens, max_seq_len=limit):
        for index, hidden in zip(batch, _read(model, [rows[index] for index in batch]), strict=True):
            found[index] = hidden
    return [hidden for hidden in found if hidden is not None]


def padded_len(seq_len: int, *, max_seq_len: int) -> int:
    """Return the length a row is read at: 16, 32, 48, 64, 96, 128, 192 and so on, or all that the model can address."""
    octave = SHORTEST
    while 2 * octave < seq_len:
        octave *= 2
    step = max(SHORTEST, octave // 2)
    return min(max_seq_len, max(SHORTEST, -(-seq_len // step) * step))


def _batches(rows: Sequence[Row], *, max_batch_tokens: int, max_seq_len: int) -> list[list[int]]:
    """Group the numbers of rows that are worked out in the same way, longest first."""
    alike: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        # Attention with a mask rounds otherwise than the causal one.
        way = (-padded_len(len(row), max_seq_len=max_seq_len), row.mask is MaskKind.CAUSAL, bool(row.grid_ids))
        alike[way].append(index)
    batches: list[list[int]] = []
    for way in sorted(alike):
        num_rows = max(1, max_batch_tokens // -way[0])
        batches += [alike[way][start : start + num_rows] for start in range(0, len(alike[way]), num_rows)]
    return batches


def _read(model: Transformer, rows: Sequence[Row]) -> list[Tensor]:
    inputs = _inputs(model, rows)
    if not any(row.layers for row in rows):
        hidden_BTD = model(**inputs)
        return [_wanted(row, hidden_BTD[place]) for place, row in enumerate(rows)]
    return _read_layers(model, rows, inputs)


def _read_layers(model: Transformer, rows: Sequence[Row], inputs: dict[str, Any]) -> list[Tensor]:
    """Keep what is wanted of each layer as it comes, and stop after the last that anybody wants."""
    num_layers = model.config.num_layers
    wanted = [row.layers or (num_layers,) for row in rows]
    deepest = max(max(numbers) for numbers in wanted)
    kept: list[dict[int, Tensor]] = [{} for _ in rows]
    for layer, hidden_BTD in zip(range(deepest + 1), layers(model, **inputs), strict=False):
        for place, row in enumerate(rows):
            if layer in wanted[place]:
                kept[place][layer] = _wanted(row, hidden_BTD[place])
    return [
        torch.stack([own[layer] for layer in row.layers]) if row.layers else own[num_layers]
        for row, own in zip(rows, kept, strict=True)
    ]


def _wanted(row: Row, hidden_TD: Tensor) -> Tensor:
    hidden_PD = hidden_TD[list(row.positions)]
    return hidden_PD.float().mean(dim=0, keepdim=True) if row.averages else hidden_PD


def _inputs(model: Transformer, rows: Sequence[Row]) -> dict[str, Any]:
    seq_len = padded_len(max(map(len, rows)), max_seq_len=model.config.max_seq_len)
    has_grid = any(row.grid_ids for row in rows)
    is_causal = all(row.mask is MaskKind.CAUSAL for row in rows)
    # Padding stands on the right, beyond what any real position may read, so it needs no mask of its own.
    return {
        "token_ids_BT": _table([row.token_ids for row in rows], seq_len=seq_len, fill=0, model=model),
        "attend_until_BT": None
        if is_causal
        else _table([_until(row) for row in rows], seq_len=seq_len, fill=0, model=model),
        "grid_ids_BT": _table([row.grid_ids for row in rows], seq_len=seq_len, fill=NO_GRID, model=model)
        if has_grid
        else None,
        "adapters_B": [row.adapter for row in rows],
    }


def _until(row: Row) -> list[int]:
    return attend_until(seq_len=len(row), mask=row.mask, prefix_len=row.prefix_len)


def _table(rows: Sequence[Sequence[int]], *, seq_len: int, fill: int, model: Transformer) -> Tensor:
    return torch.tensor([[*row, *[fill] * (seq_len - len(row))] for row in rows], device=model.device)
