"""Remembered keys and values, so that a new token costs one token's work.

A cache has slots, one sequence each, and every slot has a length of its own. `cache.rows(slots)` is a view of some
slots for one forward pass: the pass appends its tokens behind what each slot holds and reads the slot's live keys.
A view of neighbouring slots (all of them, say) reads the cache in place; any other choice copies what it reads.

Keys are read in whole stretches of `KEY_STRETCH`, the rest masked: then a slot's attention gives the same bits whatever
the lengths of the other slots are (measured on the CPU, torch 2.13; with stretches of any length it does not).
"""

from __future__ import annotations

from collections.abc import Sequence

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
        num_places = _whole_stretches(self.max_seq_len + 1)
        self.waste_place = num_places - 1
        shape = (num_slots, config.num_kv_heads, num_places, config.head_dim)
        self.keys = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
        self.values = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)]
        self.device = self.keys[0].device
        self.slot_lengths = [0] * num_slots

    @property
    def lengths(self) -> Tensor:
        """Tokens each slot holds: (num_slots,), int64, on the CPU."""
        return torch.tensor(self.slot_lengths, dtype=torch.int64)

    @property
    def num_bytes(self) -> int:
        """Memory the cache takes."""
        return sum(2 * keys.numel() * keys.element_size() for keys in self.keys)

    def rows(self, slots: Sequence[int], *, num_tokens: Sequence[int] | None = None) -> CacheRows:
        """Return a view of some slots for one forward pass.

        `num_tokens` says how many of each row's tokens are real when the rows have different lengths (the rest is
        padding on the right); 0 leaves a slot as it is. None: all of them.
        """
        return CacheRows(self, slots, num_tokens=num_tokens)

    def clear(self, slots: Sequence[int]) -> None:
        """Forget what some slots hold."""
        for slot in slots:
            self.slot_lengths[slot] = 0

    def truncate(self, slot: int, length: int) -> None:
        """Forget all but the first `length` tokens of a slot."""
        if not 0 <= length <= self.slot_lengths[slot]:
            raise ShapeError(f"slot {slot} holds {self.slot_lengths[slot]} tokens; it cannot be cut to {length}.")
        self.slot_lengths[slot] = length


class CacheRows:
    """Some slots of a cache during one forward pass: row b of the batch is `slots[b]`."""

    def __init__(self, cache: KVCache, slots: Sequence[int], *, num_tokens: Sequence[int] | None) -> None:
        self.cache = cache
        self.slots = list(slots)
        self.num_tokens = None if num_tokens is None else list(num_tokens)
        first = self.slots[0]
        is_run = self.slots == list(range(first, first + len(self.slots)))
        self._run = slice(first, first + len(self.slots)) if is_run else None
        self._slots_B1 = torch.tensor(self.slots, device=cache.device)[:, None]

    def begin(self, *, num_rows: int, seq_len: int) -> Tensor:
        """Find room for one pass and return the position of each of its tokens, (B, T).

        Raises: ShapeError if the batch does not fit the rows; ContextLengthError if a slot would overflow.
        """
        if num_rows != len(self.slots):
            raise ShapeError(f"{num_rows} rows of tokens were given for {len(self.slots)} slots of the cache.")
        self._added = self.num_tokens if self.num_tokens is not None else [seq_len] * num_rows
        self._before = [self.cache.slot_lengths[slot] for slot in self.slots]
        self._after = [before + added for before, added in zip(self._before, self._added, strict=True)]
        self._check_room()
        device = self.cache.device
        before_B1 = torch.tensor(self._before, device=device)[:, None]
        after_B1 = torch.tensor(self._after, device=device)[:, None]
        positions_BT = before_B1 + torch.arange(seq_len, device=device)
        is_whole = all(added == seq_len for added in self._added)
        waste = self.cache.waste_place
        self._places_BT = positions_BT if is_whole else positions_BT.where(positions_BT < after_B1, waste)
        self._last_live_B1 = (after_B1 - 1).clamp(min=0)
        self.is_fresh = is_whole and not any(self._before)  # what is read is just what is added
        self.num_keys = seq_len if self.is_fresh else self._num_keys_read()
        return positions_BT if is_whole else positions_BT.clamp(max=self.cache.max_seq_len - 1)

    def _num_keys_read(self) -> int:
        # Rows that add nothing are read for nobody, so they do not count, however much they hold.
        lengths = [after for after, added in zip(self._after, self._added, strict=True) if added]
        return _whole_stretches(max(lengths, default=1))

    def _check_room(self) -> None:
        longest = max(self._after)
        if longest > self.cache.max_seq_len:
            raise ContextLengthError(
                f"{longest} tokens do not fit in a cache slot of {self.cache.max_seq_len}.",
                num_prompt_tokens=longest,
                max_seq_len=self.cache.max_seq_len,
            )

    def mask(self, positions_BT: Tensor, attend_until_BT: Tensor | None) -> Tensor:
        """Return which of the stored keys each token may read, (B, 1, T, S)."""
        last_BT = positions_BT if attend_until_BT is None else torch.maximum(positions_BT, attend_until_BT)
        # Rows with nothing real in them still read one key, so that no softmax is taken over nothing.
        last_BT = torch.minimum(last_BT, self._last_live_B1)
        place_S = torch.arange(self.num_keys, device=self.cache.device)
        mask_BTS = place_S <= last_BT[:, :, None]
        if self.cache.sliding_window is not None and self.cache.sliding_window < self.num_keys:
            own_BT1 = torch.minimum(positions_BT, self._last_live_B1)[:, :, None]
            mask_BTS = mask_BTS & (place_S > own_BT1 - self.cache.sliding_window)
        return mask_BTS[:, None]

    def append(self, layer: int, k_BTGK: Tensor, v_BTGK: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values and return all that may be read.

        Shapes: k, v (B, T, G, K); returns two of (B, G, S, K), S enough for the longest of the rows.
        """
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        # Two index tensors around a slice: the indexed dims come first, which is the layout (B, T, G, K) we have.
        keys[self._slots_B1, :, self._places_BT] = k_BTGK.to(keys.dtype)
        values[self._slots_B1, :, self._places_BT] = v_BTGK.to(values.dtype)
        if self.is_fresh:
            return k_BTGK.transpose(1, 2), v_BTGK.transpose(1, 2)
        return self._live(keys), self._live(values)

    def _live(self, stored_NGSK: Tensor) -> Tensor:
        live = stored_NGSK[:, :, : self.num_keys]
        return live[self._run] if self._run is not None else live[self._slots_B1[:, 0]]

    def finish(self) -> None:
        """Count the tokens of this pass as held."""
        for slot, after in zip(self.slots, self._after, strict=True):
            self.cache.slot_lengths[slot] = after


def _whole_stretches(num_keys: int) -> int:
    return -(-num_keys // KEY_STRETCH) * KEY_STRETCH
