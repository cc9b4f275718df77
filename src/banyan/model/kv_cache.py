"""Remembered keys and values, so that a new token costs one token's work.

A cache has slots, one sequence each, and every slot has a length of its own. `cache.rows(slots)` is a view of some
slots for one forward pass: the pass appends its tokens behind what each slot holds and reads the slot's live keys.
A view of neighbouring slots (all of them, say) reads the cache in place; any other choice copies what it reads.

Keys are read in whole stretches of `KEY_STRETCH`, the rest masked: then a slot's attention gives the same bits whatever
the lengths of the other slots are (measured on the CPU, torch 2.13; with stretches of any length it does not).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from banyan.core.errors import ContextLengthError, ShapeError
from banyan.model.config import ModelConfig

KEY_STRETCH = 64  # keys


class KVCache:
    """Keys and values of `num_slots` sequences of up to `max_seq_len` tokens, for all layers."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        num_slots: int,
        max_seq_len: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.num_slots = num_slots
        self.max_seq_len = config.max_seq_len if max_seq_len is None else max_seq_len
        if self.max_seq_len > config.max_seq_len:
            raise ShapeError(
                f"a cache of {self.max_seq_len} positions is longer than model.max_seq_len={config.max_seq_len}."
            )
        self.sliding_window = config.sliding_window
        # At least one place more than can live: rows with nothing to add write to the last one, and nobody reads it.
        num_places = whole_stretches(self.max_seq_len + 1)
        self.waste_place = num_places - 1
        shape = (num_slots, config.num_kv_heads, num_places, config.head_dim)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
        self.device = self.keys[0].device
        self.lookback = config.lookback
        places = num_places if config.lookback else 0
        self.token_ids = torch.zeros((num_slots, places), device=self.device, dtype=torch.int64)
        self.slot_lengths = [0] * num_slots

    @property
    def lengths(self) -> Tensor:
        """Tokens each slot holds: (num_slots,), int64, on the CPU."""
        return torch.tensor(self.slot_lengths, dtype=torch.int64)

    @property
    def num_bytes(self) -> int:
        """Memory the cache takes."""
        return sum(2 * keys.numel() * keys.element_size() for keys in self.keys)

    def rows(
        self,
        slots: Sequence[int],
        *,
        num_tokens: Sequence[int] | None = None,
        chains: Sequence[Sequence[int]] = (),
    ) -> CacheRows:
        """Return a view of some slots for one forward pass.

        `num_tokens` says how many of each row's tokens are real when the rows have different lengths (the rest is
        padding on the right); 0 leaves a slot as it is. None: all of them. The slots of a chain hold the same sequence,
        and its one token each is read as if they stood behind each other; after the pass all of them hold all of these.
        Raises: ShapeError if a slot is named twice, or the slots of a chain hold different numbers of tokens.
        """
        if not slots or len(set(slots)) != len(slots):
            raise ShapeError(f"slots={tuple(slots)} cannot be the rows of one pass; each must be named once.")
        if unlike := [chain for chain in chains if len({self.slot_lengths[slot] for slot in chain}) > 1]:
            raise ShapeError(f"the slots {tuple(unlike[0])} of a chain do not hold the same number of tokens.")
        num_tokens = None if num_tokens is None else tuple(num_tokens)
        links = tuple(tuple(chain) for chain in chains)
        return CacheRows(cache=self, slots=tuple(slots), num_tokens=num_tokens, chains=links)

    def clear(self, slots: Sequence[int]) -> None:
        """Forget what some slots hold."""
        for slot in slots:
            self.slot_lengths[slot] = 0

    def copy(self, source: int, target: int, *, start: int = 0) -> None:
        """Let one slot hold what another holds; what stands before `start` is the same in both already."""
        length = self.slot_lengths[source]
        for stored in (*self.keys, *self.values):
            stored[target, :, start:length] = stored[source, :, start:length]
        self.token_ids[target] = self.token_ids[source]
        self.slot_lengths[target] = length

    def part(self, slot: int, *, start: int, end: int) -> KVPart:
        """Return a copy of what a slot holds of some neighbouring positions."""
        held = slice(start, end)
        stored = tuple(tensor[slot, :, held].clone() for tensor in (*self.keys, *self.values))
        return KVPart(start=start, stored=stored, token_ids=self.token_ids[slot, held].clone())

    def append(self, slot: int, part: KVPart) -> None:
        """Put a part behind what a slot holds.

        Raises: ShapeError if it was taken from another place.
        """
        if part.start != self.slot_lengths[slot]:
            raise ShapeError(f"slot {slot} holds {self.slot_lengths[slot]} tokens; the part begins at {part.start}.")
        end = part.start + part.stored[0].shape[1]
        for stored, piece in zip((*self.keys, *self.values), part.stored, strict=True):
            stored[slot, :, part.start : end] = piece
        self.token_ids[slot, part.start : part.start + len(part.token_ids)] = part.token_ids
        self.slot_lengths[slot] = end

    def check_room(self, length: int) -> None:
        """Make sure that a slot can hold so many tokens.

        Raises: ContextLengthError.
        """
        if length > self.max_seq_len:
            raise ContextLengthError(
                f"{length} tokens do not fit in a cache slot of {self.max_seq_len}.",
                num_prompt_tokens=length,
                max_seq_len=self.max_seq_len,
            )

    def tokens_before(self, slots_BT: Tensor, places_BT: Tensor) -> Tensor:
        """Return the `lookback` tokens before some places, the nearest first; any id stands before place 0.

        Shapes: slots (B or 1, T or 1) and places (B, T); returns (B, T, lookback).
        """
        distance_K = torch.arange(1, self.lookback + 1, device=self.device)
        return self.token_ids[slots_BT[..., None], (places_BT[..., None] - distance_K).clamp(min=0)]

    def truncate(self, slot: int, length: int) -> None:
        """Forget all but the first `length` tokens of a slot."""
        if not 0 <= length <= self.slot_lengths[slot]:
            raise ShapeError(f"slot {slot} holds {self.slot_lengths[slot]} tokens; it cannot be cut to {length}.")
        self.slot_lengths[slot] = length


@dataclass(frozen=True, kw_only=True, slots=True)
class KVPart:
    """What a cache holds of some neighbouring tokens of one sequence; it can be put where it was taken from."""

    start: int
    stored: tuple[Tensor, ...]  # keys of all layers, values of all layers; (G, T, K) each
    token_ids: Tensor

    @property
    def num_bytes(self) -> int:
        """Memory the part takes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.stored, self.token_ids))


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheRows:
    """Some slots of a cache, for one forward pass: row b of the batch is `slots[b]`."""

    cache: KVCache
    slots: tuple[int, ...]
    num_tokens: tuple[int, ...] | None
    chains: tuple[tuple[int, ...], ...] = ()

    def begin(self, *, num_rows: int, seq_len: int) -> CachePass:
        """Find room for a batch of tokens; nothing is stored yet.

        Raises: ShapeError if the batch does not fit the rows; ContextLengthError if a slot would overflow.
        """
        if num_rows != len(self.slots):
            raise ShapeError(f"{num_rows} rows of tokens were given for {len(self.slots)} slots of the cache.")
        added = self.num_tokens if self.num_tokens is not None else (seq_len,) * num_rows
        if len(added) != num_rows or max(added) > seq_len:
            raise ShapeError(f"num_tokens={added} does not fit {num_rows} rows of {seq_len} tokens.")
        if self.chains and seq_len != 1:
            raise ShapeError(f"chains are read with one token in each row, got {seq_len}.")
        return CachePass(self.cache, self.slots, added=added, seq_len=seq_len, chains=self.chains)


class CachePass:
    """One forward pass over some slots: where its tokens go, what they may read."""

    spans = None  # the rows of the batch are those of the slots

    def __init__(
        self,
        cache: KVCache,
        slots: tuple[int, ...],
        *,
        added: tuple[int, ...],
        seq_len: int,
        chains: tuple[tuple[int, ...], ...] = (),
    ) -> None:
        self.cache = cache
        self.slots = slots
        self._chains = chains
        links = {slot: place for chain in chains for place, slot in enumerate(chain)}
        before = [cache.slot_lengths[slot] + links.get(slot, 0) for slot in slots]
        self.lengths_after = [length + new for length, new in zip(before, added, strict=True)]
        cache.check_room(max(self.lengths_after))
        is_whole = min(added) == seq_len
        self.is_fresh = is_whole and not any(before)  # what is read is just what is added
        live_lengths = [length for length, new in zip(self.lengths_after, added, strict=True) if new]
        # Rows that add nothing are read for nobody, so they do not count, however much they hold.
        self.num_keys = seq_len if self.is_fresh else whole_stretches(max(live_lengths, default=1))
        self._slots_B = torch.tensor(slots, device=cache.device)
        self._run = _as_slice(slots)
        self._shared = self._share() if chains else None
        after_B1 = torch.tensor(self.lengths_after, device=cache.device)[:, None]
        places_BT = torch.tensor(before, device=cache.device)[:, None] + torch.arange(seq_len, device=cache.device)
        self._places_BT = places_BT if is_whole else places_BT.where(places_BT < after_B1, cache.waste_place)
        self._last_live_B1 = (after_B1 - 1).clamp(min=0)
        self.position_ids_BT = places_BT if is_whole else places_BT.clamp(max=cache.max_seq_len - 1)

    def _share(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return which row goes to which slot and place, besides its own, so that a chain's slots stay the same."""
        row_of = {slot: row for row, slot in enumerate(self.slots)}
        shared = [
            (row_of[source], target, self.cache.slot_lengths[source] + place)
            for chain in self._chains
            for place, source in enumerate(chain)
            for target in chain
            if target != source
        ]
        rows_M, slots_M, places_M = torch.tensor(shared, device=self.cache.device).reshape(-1, 3).T
        return rows_M, slots_M, places_M

    def mask(self, attend_until_BT: Tensor | None) -> Tensor | None:
        """Return which keys each token may read, (B, 1, T, S), or None where causal says the same."""
        window = self.cache.sliding_window
        is_windowed = window is not None and window < self.num_keys
        if self.is_fresh and attend_until_BT is None and not is_windowed:
            return None
        last_BT = own_BT = self.position_ids_BT.minimum(self._last_live_B1)
        # Rows with nothing real in them still read one key, so that no softmax is taken over nothing.
        if attend_until_BT is not None:
            last_BT = own_BT.maximum(attend_until_BT).minimum(self._last_live_B1)
        place_S = torch.arange(self.num_keys, device=self.cache.device)
        mask_BTS = place_S <= last_BT[:, :, None]
        if window is not None and is_windowed:
            mask_BTS = mask_BTS & (place_S > own_BT[:, :, None] - window)
        return mask_BTS[:, None]

    def earlier_tokens(self, token_ids_BT: Tensor) -> Tensor:
        """Store the pass's tokens and return the `lookback` tokens before each, the nearest first.

        Shapes: token_ids (B, T); returns (B, T, lookback).
        """
        stored, slots_B1 = self.cache.token_ids, self._slots_B[:, None]
        if self._shared is not None:
            rows_M, slots_M, places_M = self._shared
            stored[slots_M, places_M] = token_ids_BT[rows_M, 0]
        stored[slots_B1, self._places_BT] = token_ids_BT
        return self.cache.tokens_before(slots_B1, self._places_BT)

    def append(self, layer: int, k_BTGK: Tensor, v_BTGK: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values and return all that may be read.

        Shapes: k, v (B, T, G, K); returns two of (B, G, S, K), S enough for the longest of the rows.
        """
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        # Two index tensors around a slice: the indexed dims come first, which is the layout (B, T, G, K) we have.
        keys[self._slots_B[:, None], :, self._places_BT] = k_BTGK.to(keys.dtype)
        values[self._slots_B[:, None], :, self._places_BT] = v_BTGK.to(values.dtype)
        if self._shared is not None:
            rows_M, slots_M, places_M = self._shared
            keys[slots_M, :, places_M] = k_BTGK[rows_M, 0].to(keys.dtype)
            values[slots_M, :, places_M] = v_BTGK[rows_M, 0].to(values.dtype)
        if self.is_fresh:
            return k_BTGK.transpose(1, 2), v_BTGK.transpose(1, 2)
        return self._read(keys), self._read(values)

    def _read(self, stored_NGSK: Tensor) -> Tensor:
        stored_NGSK = stored_NGSK[:, :, : self.num_keys]
        return stored_NGSK[self._slots_B] if self._run is None else stored_NGSK[self._run]

    def finish(self) -> None:
        """Count the tokens of this pass as held."""
        for slot, length in zip(self.slots, self.lengths_after, strict=True):
            self.cache.slot_lengths[slot] = length
        for chain in self._chains:
            for slot in chain:
                self.cache.slot_lengths[slot] = self.cache.slot_lengths[chain[-1]]


def _as_slice(slots: tuple[int, ...]) -> slice | None:
    """Return neighbouring slots as a slice, which reads without copying; None if they lie apart."""
    run = range(slots[0], slots[0] + len(slots))
    return slice(run.start, run.stop) if slots == tuple(run) else None


def whole_stretches(num_keys: int) -> int:
    """Return a number of keys rounded up to whole stretches."""
    return -(-num_keys // KEY_STRETCH) * KEY_STRETCH
