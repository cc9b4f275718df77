"""From the bytes that may follow to the tokens that may: a form seen through one vocabulary."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from banyan.infer.forms.automaton import DEAD, IMPOSSIBLE, Automaton
from banyan.infer.forms.grammar import Grammar
from banyan.tokenizers.vocabulary import Vocabulary

_MAX_KEPT = 256  # states whose tokens are kept


class TokenBytes:
    """The bytes of every text token as one table, worked out once for a vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        raws = [vocabulary.decode_bytes((token_id,)) for token_id in range(vocabulary.text_size)]
        self.raws: Sequence[bytes] = raws
        self.lengths = np.array([len(raw) for raw in raws], dtype=np.int64)
        self.table = np.zeros((len(raws), int(self.lengths.max(initial=1))), dtype=np.uint8)
        for token_id, raw in enumerate(raws):
            self.table[token_id, : len(raw)] = np.frombuffer(raw, dtype=np.uint8)


class TokenMasks:
    """Which tokens may follow each state of a form, and how many bytes the end is away after them."""

    def __init__(self, grammar: Grammar, tokens: TokenBytes) -> None:
        self.automaton = Automaton(grammar)
        self._tokens = tokens
        self._kept: OrderedDict[int, Tensor] = OrderedDict()

    def bytes_to_end(self, state: int) -> Tensor:
        """Return how many bytes the nearest end is away after each token.

        Shapes: (V,), int32 on the CPU; `IMPOSSIBLE` for a token that may not come.
        """
        if state not in self._kept:
            self._kept[state] = torch.from_numpy(self._work_out(state))
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(state)
        return self._kept[state]

    def _work_out(self, state: int) -> NDArray[np.int32]:
        """Walk all tokens at once, byte after byte; what has ended or died drops out."""
        tokens = self._tokens
        reached = np.full(len(tokens.lengths), state, dtype=np.int32)
        walking = np.flatnonzero(tokens.lengths > 0)
        for place in range(tokens.table.shape[1]):
            walking = walking[(tokens.lengths[walking] > place) & (reached[walking] != DEAD)]
            if not len(walking):
                break
            reached[walking] = self.automaton.follow(reached[walking], tokens.table[walking, place])
        needs = self.automaton.needs()[reached]
        needs[tokens.lengths == 0] = IMPOSSIBLE
        return needs.astype(np.int32)
