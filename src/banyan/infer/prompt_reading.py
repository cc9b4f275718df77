"""A prompt on its way into the cache: piece by piece, so that a long one stalls nobody, and known ones for nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from banyan.core.types import NO_GRID, MaskKind
from banyan.infer.answers import Answer
from banyan.infer.prefix_cache import PIECE, PrefixCache, piece_keys
from banyan.infer.slots import SlotModel


class PromptReading:
    """Reads the prompts of one answer into its slots, a piece at a time.

    Pieces begin at multiples of `PIECE` whoever is read beside, and what was read before is taken bit by bit as it was,
    so an answer does not depend on either. A prompt that is read in both directions, or shows a picture, is one piece.
    """

    def __init__(self, answer: Answer, slots: SlotModel, prefixes: PrefixCache) -> None:
        self.answer = answer
        request = answer.request
        # All beams begin with one prompt, so there may be more slots than prompts.
        pairs = zip(answer.slots, request.branches, strict=False)
        self._branches = [_Branch(answer, slot, token_ids, slots, prefixes) for slot, token_ids in pairs]

    @property
    def is_done(self) -> bool:
        """Whether all has been read."""
        return all(branch.hidden_1D is not None for branch in self._branches)

    @property
    def num_cached_tokens(self) -> int:
        """Tokens that were known already."""
        return sum(branch.num_cached_tokens for branch in self._branches)

    @property
    def hidden_SD(self) -> Tensor:
        """The hidden state after each prompt, (S, D)."""
        return torch.cat([branch.hidden_1D for branch in self._branches if branch.hidden_1D is not None])

    def read_piece(self) -> int:
        """Read the next piece and return how many tokens that were."""
        branch = next(branch for branch in self._branches if branch.hidden_1D is None)
        return branch.read_piece()


class _Branch:
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
        self._num_read: int | None = None  # None: not begun
        self.num_cached_tokens = 0
        self.hidden_1D: Tensor | None = None

    def read_piece(self) -> int:
        start = self._begin() if self._num_read is None else self._num_read
        piece = self._token_ids[start : start + self._piece]
        hidden_1D = self._slots.read(self._slot, piece, mask=self._mask, grid_ids=self._grid_ids)
        self._num_read = start + len(piece)
        if self._keys and len(piece) == PIECE:
            self._prefixes.keep(self._keys[start // PIECE], self._slots.part(self._slot, start=start))
        if self._num_read == len(self._token_ids):
            self.hidden_1D = hidden_1D
        return len(piece)

    def _begin(self) -> int:
        """Clear the slot, put in what is known, and return where to read on: before the last token at the latest."""
        self._slots.begin(self._slot, adapter=self._adapter)
        for part in self._prefixes.find(self._keys[: (len(self._token_ids) - 1) // PIECE]):
            self._slots.append(self._slot, part)
            self.num_cached_tokens += PIECE
        return self.num_cached_tokens


def _cells(answer: Answer, num_tokens: int) -> tuple[int, ...]:
    """Return the picture cell that each position of a prompt predicts: of the picture it shows, or that is drawn."""
    first_cell = answer.grid_id_of(0)
    if first_cell == NO_GRID:
        return answer.request.prompt.grid_ids
    return (*[NO_GRID] * (num_tokens - 1), first_cell)
