"""One forward pass over rows of different lengths, without a cache, keeping only the positions somebody asked for.

On a CPU rows lie behind each other, so that hardly anything is padded and one pass serves all lengths. Elsewhere, where
every call has its price, they are padded to one of a few lengths and read with their like; nothing was measured there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from banyan.core.types import NO_GRID, MaskKind, Prompt, TokenSequence
from banyan.model.masks import attention_mask
from banyan.model.partial_passes import layers
from banyan.model.row_groups import RowGroup
from banyan.model.transformer import Transformer

# Lengths that rows are padded to: each length has kernels of its own, and these round what they sum in their own order.
SHORTEST = 16
# A pass over rows that lie behind each other has at least so many tokens, and a multiple of half of it: products of
# fewer may round otherwise (MKL on an Intel Xeon, not strict: up to 15), and so threads part between two tokens.
FEWEST = 16


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
    """Read rows together and return each row's wanted hidden states.

    They have the same bits alone and in any company (measured in float32 on the CPU with torch 2.13).
    Shapes: one (P, D) for each row, P its number of positions; (N, P, D) for a row that names N layers.
    Units:  max_batch_tokens counts padding too; a single longer row makes its own batch.
    """
    found: list[Tensor | None] = [None] * len(rows)
    if model.device.type == "cpu":
        batches, read = _packs(rows, max_batch_tokens), read_packed
    else:
        batches, read = _batches(rows, max_batch_tokens, max_seq_len=model.config.max_seq_len), read_padded
    for batch in batches:
        for index, hidden in zip(batch, read(model, [rows[index] for index in batch]), strict=True):
            found[index] = hidden
    return [hidden for hidden in found if hidden is not None]


def padded_len(seq_len: int, *, max_seq_len: int) -> int:
    """Return the length a row is read at: 16, 32, 48, 64, 96, 128, 192 and so on, or all that the model can address."""
    octave = SHORTEST
    while 2 * octave < seq_len:
        octave *= 2
    step = max(SHORTEST, octave // 2)
    return min(max_seq_len, max(SHORTEST, -(-seq_len // step) * step))


def _packs(rows: Sequence[Row], max_batch_tokens: int) -> list[list[int]]:
    """Divide the numbers of rows into passes; those of one length that are seen in one way are neighbours."""
    packs: list[list[int]] = []
    room = 0
    for index in sorted(range(len(rows)), key=lambda index: _way(rows[index])):
        if len(rows[index]) > room:
            packs.append([])
            room = max_batch_tokens
        packs[-1].append(index)
        room -= len(rows[index])
    return packs


def _way(row: Row) -> tuple[int, str]:
    """Return what rows must have in common to be attended to in one call, longest first."""
    if row.mask is MaskKind.CAUSAL or row.prefix_len <= 1 < len(row) and row.mask is not MaskKind.FULL:
        return -len(row), "causal"
    is_whole = row.mask is MaskKind.FULL or row.prefix_len >= len(row)
    return -len(row), "whole" if is_whole else "prefix"


def read_packed(model: Transformer, rows: Sequence[Row]) -> list[Tensor]:
    """Return the wanted states of rows, laid one behind the other; those of one way must be neighbours."""
    lengths = [len(row) for row in rows]
    num_idle = num_idle_tokens(sum(lengths))
    passed = layers(model, **_packed_inputs(model, rows, num_idle=num_idle))
    apart = (torch.split(hidden_1ND[0], [*lengths, num_idle]) for hidden_1ND in passed)
    return _keep_layers(apart, rows, num_layers=model.config.num_layers)


def num_idle_tokens(num_tokens: int) -> int:
    """Return how many tokens that nobody wants are added to a pass in which all lie behind each other."""
    half = FEWEST // 2
    return max(FEWEST, -(-num_tokens // half) * half) - num_tokens


def _packed_inputs(model: Transformer, rows: Sequence[Row], *, num_idle: int) -> dict[str, Any]:
    def in_line(parts: Sequence[Sequence[int]], *, fill: int = 0) -> Tensor:
        numbers = [number for part in parts for number in part]
        return torch.tensor([[*numbers, *[fill] * num_idle]], device=model.device)

    has_grid = any(row.grid_ids for row in rows)
    grids = [row.grid_ids or (NO_GRID,) * len(row) for row in rows]
    groups = [list(group) for _, group in groupby(rows, key=_way)]
    adapters = [row.adapter for row in rows for _ in range(len(row))]
    return {
        "token_ids_BT": in_line([row.token_ids for row in rows]),
        "position_ids_BT": in_line([range(len(row)) for row in rows]),
        "grid_ids_BT": in_line(grids, fill=NO_GRID) if has_grid else None,
        "adapters_B": [*adapters, *adapters[-1:] * num_idle] if any(adapters) else None,
        "row_groups": [_group(model, group) for group in groups],
    }


def _group(model: Transformer, rows: Sequence[Row]) -> RowGroup:
    window = model.config.sliding_window
    seq_len, way = len(rows[0]), _way(rows[0])[1]
    if way != "prefix" and (window is None or window >= seq_len):
        return RowGroup(num_rows=len(rows), seq_len=seq_len, is_causal=way == "causal")
    until_BT = torch.tensor([_until(row) for row in rows], device=model.device)
    mask = attention_mask(seq_len=seq_len, attend_until_BT=until_BT, sliding_window=window, device=model.device)
    return RowGroup(num_rows=len(rows), seq_len=seq_len, mask=mask)


def _batches(rows: Sequence[Row], max_batch_tokens: int, *, max_seq_len: int) -> list[list[int]]:
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


def read_padded(model: Transformer, rows: Sequence[Row]) -> list[Tensor]:
    """Return the wanted states of rows, laid one below the other."""
    inputs = _inputs(model, rows)
    if not any(row.layers for row in rows):
        return [_wanted(row, hidden_TD) for row, hidden_TD in zip(rows, model(**inputs), strict=True)]
    return _keep_layers(layers(model, **inputs), rows, num_layers=model.config.num_layers)


def _keep_layers(passed: Iterable[Sequence[Tensor] | Tensor], rows: Sequence[Row], *, num_layers: int) -> list[Tensor]:
    """Keep what is wanted of each layer as it comes, and stop after the last that anybody wants.

    Shapes: each of `passed` begins with one (T, D) for each row.
    """
    wanted = [row.layers or (num_layers,) for row in rows]
    deepest = max(max(numbers) for numbers in wanted)
    kept: list[dict[int, Tensor]] = [{} for _ in rows]
    for layer, hidden in zip(range(deepest + 1), passed, strict=False):
        for place, row in enumerate(rows):
            if layer in wanted[place]:
                kept[place][layer] = _wanted(row, hidden[place])
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
