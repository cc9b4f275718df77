"""Prompts on their way into the cache: piece by piece, so that a long one stalls nobody, and known ones for nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from banyan.core.types import NO_GRID, MaskKind
from banyan.infer.answers import Answer
from banyan.infer.prefix_cache import PIECE, PieceKey, PrefixCache, piece_keys
from banyan.infer.slots import Piece, SlotModel


class PromptReading:
    """How far the prompts of one answer have been read into its slots.

    Pieces begin at multiples of `PIECE` whoever is read beside, and what was read before is taken bit by bit as it was,
    so an answer does not depend on either. A prompt that is read in both directions, or shows a picture, is one piece.
    """

    def __init__(self, answer: Answer, slots: SlotModel, prefixes: PrefixCache) -> None:
        self.answer = answer
        request = answer.request
        # All beams begin with one prompt, so there may be more slots than prompts.
        pairs = zip(answer.slots, request.branches, strict=False)
        self.branches = [Branch(answer, slot, token_ids, slots, prefixes) for slot, token_ids in pairs]

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots that prompts are read into."""
        return self.answer.slots[: len(self.branches)]

    @property
    def is_done(self) -> bool:
        """Whether all has been read."""
        return all(branch.hidden_D is not None for branch in self.branches)

    @property
    def num_cached_tokens(self) -> int:
        """Tokens that were known already."""
        return sum(branch.num_cached_tokens for branch in self.branches)

    @property
    def hidden_SD(self) -> Tensor:
        """The hidden state after each prompt, (S, D), in the order of `slots`."""
        return torch.stack([branch.hidden_D for branch in self.branches if branch.hidden_D is not None])


class Branch:
    """One prompt and the slot it is read into."""

    def __init__(
        self, answer: Answer, slot: int, token_ids: Sequence[int], slots: SlotModel, prefixes: PrefixCache
    ) -> None:
        request = answer.request
        self._slot, self._token_ids, self._slots, self._prefixes = slot, token_ids, slots, prefixes
        self._mask, self._adapter = request.prompt.mask, request.adapter
        self._grid_ids = _cells(answer, len(token_ids))
        is_whole = self._mask is not MaskKind.CAUSAL or bool(self._grid_ids)
        may_know = prefixes.is_on and not is_whole
        self._keys = piece_keys(token_ids, salt=request.owner, adapter=request.adapter) if may_know else []
        self._piece = len(token_ids) if is_whole else PIECE
        self._has_begun = False
        self._num_read = 0
        self.num_cached_tokens = 0
        self.hidden_D: Tensor | None = None

    def catch_up(self) -> None:
        """Clear the slot at first, and put in what is known by now, at most up to the last token."""
        if not self._has_begun:
            self._slots.begin(self._slot, adapter=self._adapter)
            self._has_begun = True
        known = self._prefixes.find(self._keys[: (len(self._token_ids) - 1) // PIECE])
        for part in known[self._num_read // PIECE :]:
            self._slots.append(self._slot, part)
            self._num_read += PIECE
            self.num_cached_tokens += PIECE

    def to_read(self) -> Iterator[tuple[PieceKey | None, Piece]]:
        """Yield what is left to be read, and the name under which others may ask for the same."""
        for start in range(self._num_read, len(self._token_ids), self._piece):
            token_ids = self._token_ids[start : start + self._piece]
            key = self._keys[start // PIECE] if self._keys and len(token_ids) == PIECE else None
            yield key, Piece(slot=self._slot, token_ids=token_ids, mask=self._mask, grid_ids=self._grid_ids)

    def note(self, key: PieceKey | None, piece: Piece, hidden_D: Tensor) -> None:
        """Hear that the next piece has been read."""
        start, self._num_read = self._num_read, self._num_read + len(piece)
        if key is not None:
            self._prefixes.keep(key, self._slots.part(self._slot, start=start, end=self._num_read))
        if self._num_read == len(self._token_ids):
            self.hidden_D = hidden_D


def read_in_turn(readings: Sequence[PromptReading], slots: SlotModel, *, num_tokens: int) -> dict[PromptReading, int]:
    """Read a piece of each in turn until there are so many tokens, all in one pass; return how many were whose.

    Who would read what another one reads in this pass, and what will be known then, waits for it.
    """
    chosen = _choose(readings, num_tokens=num_tokens)
    num_read: dict[PromptReading, int] = {}
    if chosen:
        hidden_ND = slots.read([piece for _, _, _, piece in chosen])
        for (reading, branch, key, piece), hidden_D in zip(chosen, hidden_ND, strict=True):
            branch.note(key, piece, hidden_D)
            num_read[reading] = num_read.get(reading, 0) + len(piece)
    return num_read


def _choose(
    readings: Sequence[PromptReading], *, num_tokens: int
) -> list[tuple[PromptReading, Branch, PieceKey | None, Piece]]:
    chosen: list[tuple[PromptReading, Branch, PieceKey | None, Piece]] = []
    being_read: set[bytes] = set()
    waiting = deque((reading, _pieces_of(reading)) for reading in readings)
    while waiting and num_tokens > 0:
        reading, pieces = waiting.popleft()
        if (found := next(pieces, None)) is None:
            continue
        branch, key, piece = found
        if key is not None:
            if key.digest in being_read:
                continue
            being_read.add(key.digest)
        chosen.append((reading, branch, key, piece))
        num_tokens -= len(piece)
        waiting.append((reading, pieces))
    return chosen


def _pieces_of(reading: PromptReading) -> Iterator[tuple[Branch, PieceKey | None, Piece]]:
    for branch in reading.branches:
        branch.catch_up()
        for key, piece in branch.to_read():
            yield branch, key, piece


def _cells(answer: Answer, num_tokens: int) -> tuple[int, ...]:
    """Return the picture cell that each position of a prompt predicts: of the picture it shows, or that is drawn."""
    first_cell = answer.grid_id_of(0)
    if first_cell == NO_GRID:
        return answer.request.prompt.grid_ids
    return (*[NO_GRID] * (num_tokens - 1), first_cell)
