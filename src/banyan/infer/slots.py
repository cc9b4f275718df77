"""The model with a fixed number of cache slots: read some tokens into one, or advance all of them by one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from banyan.core.types import NO_GRID, MaskKind
from banyan.infer.forward import num_idle_tokens
from banyan.model.cache_spans import CacheSpans, Span
from banyan.model.kv_cache import KVCache, KVPart
from banyan.model.transformer import Transformer

# A product of one or two rows is worked out by another routine, with other last bits; from three on, the bits of a row
# do not depend on their number (measured with MKL on x86, torch 2.13, at 1 to 1,024 rows; on an Intel Xeon with
# MKL_CBWR=AUTO,STRICT, for with AUTO alone they do below 16 rows).
MIN_PRODUCT_ROWS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Tokens to be read behind what a slot holds."""

    slot: int
    token_ids: Sequence[int]
    mask: MaskKind = MaskKind.CAUSAL  # another one only for a whole prompt
    grid_ids: Sequence[int] = ()  # the picture cells that the positions predict; empty: no picture

    def __len__(self) -> int:
        return len(self.token_ids)


class SlotModel:
    """A model that remembers one sequence in each slot.

    A step always runs all slots, used or not, and prompts are read in passes of many tokens, in which each piece
    attends in a call of its own: so the rounding of an answer does not depend on who else is being answered. Rows that
    no slot needs are added where there are few, so that it does not depend on the number of slots either.

    Rows that nobody holds read what is guessed to follow in a slot: each holds a copy of the slot, and reads one guess
    as if those before it had been fed one by one. The size of the step is the same, so its bits are, too.
    """

    def __init__(self, model: Transformer, *, num_slots: int) -> None:
        self._model = model
        self.num_slots = num_slots
        self._num_rows = max(num_slots, MIN_PRODUCT_ROWS)
        self._free = list(range(num_slots))
        self._adapters: list[str | None] = [None] * num_slots  # that wrote what each slot remembers
        self._copy_of: dict[int, int] = {}  # by idle row: the slot of whose beginning it holds a copy
        self._chains: dict[int, tuple[int, ...]] = {}  # by slot: the rows of the last step, its own first

    @cached_property
    def _cache(self) -> KVCache:
        # Made when the first prompt comes: an engine that only scores needs none.
        model = self._model
        return KVCache(model.config, num_slots=self._num_rows, device=model.device, dtype=model.dtype)

    @property
    def num_free(self) -> int:
        """Slots that nobody holds."""
        return len(self._free)

    @property
    def num_idle_rows(self) -> int:
        """Rows of a step that belong to nobody."""
        return self._num_rows - self.num_slots + len(self._free)

    @property
    def num_held_tokens(self) -> int:
        """Tokens remembered in the slots that somebody holds."""
        free = set(self._free)
        if len(free) == self.num_slots:
            return 0
        return sum(self._cache.slot_lengths[slot] for slot in range(self.num_slots) if slot not in free)

    def take(self, num_slots: int) -> tuple[int, ...]:
        """Hand out free slots."""
        taken, self._free = self._free[:num_slots], self._free[num_slots:]
        for slot in taken:
            self._copy_of.pop(slot, None)
        return tuple(taken)

    def give_back(self, slots: Sequence[int]) -> None:
        """Take slots back, whatever they hold."""
        self._free = sorted([*self._free, *slots])
        self._copy_of = {row: slot for row, slot in self._copy_of.items() if slot not in slots}

    def begin(self, slot: int, *, adapter: str | None = None) -> None:
        """Forget what a slot holds; all that it reads from now on goes through one adapter."""
        self._cache.clear([slot])
        self._adapters[slot] = adapter

    def read(self, pieces: Sequence[Piece]) -> Tensor:
        """Read pieces of prompts behind what their slots hold, all in one pass; return the last hidden state of each.

        Pieces of one slot follow each other in their order. Shapes: returns (N, D), one row for each piece.
        """
        lengths = [len(piece.token_ids) for piece in pieces]
        idle = num_idle_tokens(sum(lengths))
        token_ids = [token_id for piece in pieces for token_id in piece.token_ids]
        grid_ids = [grid_id for piece in pieces for grid_id in piece.grid_ids or [NO_GRID] * len(piece.token_ids)]
        adapters = [self._adapters[piece.slot] for piece in pieces for _ in piece.token_ids]
        spans = tuple(
            Span(slot=piece.slot, seq_len=len(piece.token_ids), is_causal=piece.mask is MaskKind.CAUSAL)
            for piece in pieces
        )
        hidden_BTD: Tensor = self._model(
            self._row([*token_ids, *[0] * idle]),
            grid_ids_BT=self._row([*grid_ids, *[NO_GRID] * idle]) if any(piece.grid_ids for piece in pieces) else None,
            cache=CacheSpans(cache=self._cache, spans=spans),
            adapters_B=[*adapters, *adapters[-1:] * idle],
        )
        return hidden_BTD[0, [end - 1 for end in accumulate(lengths)]]

    def part(self, slot: int, *, start: int, end: int) -> KVPart:
        """Return a copy of what a slot remembers of some neighbouring positions."""
        return self._cache.part(slot, start=start, end=end)

    def append(self, slot: int, part: KVPart) -> None:
        """Let a slot remember a part behind what it does already."""
        self._cache.append(slot, part)

    def copy(self, source: int, target: int) -> None:
        """Let a slot remember what another one does, so that both can go on from there."""
        self._cache.copy(source, target)
        self._adapters[target] = self._adapters[source]

    def advance(
        self, fed: Mapping[int, tuple[int, int]], *, guesses: Mapping[int, Sequence[int]] | None = None
    ) -> Tensor:
        """Feed one token, with the picture cell it predicts, to each of some slots, and guesses behind it to idle rows.

        The guesses are no more than there are idle rows; `keep` says how many of them were right, for each slot.
        Shapes: returns (N, D), row s belonging to slot s, and `rows_of(s)` to its token and guesses; other rows mean
        nothing.
        """
        self._chains = self._lend_rows(guesses or {})
        for slot, guessed in (guesses or {}).items():
            fed = {**fed, **{row: (token, NO_GRID) for row, token in zip(self._chains[slot][1:], guessed, strict=True)}}
        slots = range(self._num_rows)
        padded = [fed.get(slot, (0, NO_GRID)) for slot in slots]
        hidden_BTD: Tensor = self._model(
            self._row([token_id for token_id, _ in padded]).T,
            grid_ids_BT=self._row([grid_id for _, grid_id in padded]).T,
            cache=self._cache.rows(
                slots, num_tokens=[int(slot in fed) for slot in slots], chains=tuple(self._chains.values())
            ),
            adapters_B=[self._adapters[self._copy_of.get(slot, slot)] if slot in fed else None for slot in slots],
        )
        return hidden_BTD[:, 0]

    def rows_of(self, slot: int) -> tuple[int, ...]:
        """Return the rows of the last step that read the slot's token and the guesses behind it, in their order."""
        return self._chains.get(slot, (slot,))

    def keep(self, slot: int, *, num_guesses: int) -> None:
        """Forget all guesses of the last step but the first few, which were right."""
        chain = self._chains.pop(slot)
        length = self._cache.slot_lengths[slot] - (len(chain) - 1) + num_guesses
        for row in chain:
            self._cache.truncate(row, length)

    def _lend_rows(self, guesses: Mapping[int, Sequence[int]]) -> dict[int, tuple[int, ...]]:
        """Give each slot an idle row for each of its guesses, which holds what the slot does; its own copies first."""
        lent: dict[int, tuple[int, ...]] = {}
        idle = [*self._free, *range(self.num_slots, self._num_rows)]
        for slot, guessed in guesses.items():
            ranked = sorted(idle, key=lambda row, own=slot: (self._copy_of.get(row) != own, row in self._copy_of))  # type: ignore[misc]
            rows, idle = ranked[: len(guessed)], ranked[len(guessed) :]
            for row in rows:
                known = self._cache.slot_lengths[row] if self._copy_of.get(row) == slot else 0
                self._cache.copy(slot, row, start=known)
                self._copy_of[row] = slot
            lent[slot] = (slot, *rows)
        return lent

    def _row(self, values: Sequence[int]) -> Tensor:
        return torch.tensor([values], device=self._model.device)
