"""Stop texts: an answer ends before them, and no part of one is ever shown, however its tokens are cut."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Sequence

from banyan.tokenizers.vocabulary import Vocabulary


class AnswerText:
    """Turns an answer's tokens into text, holding back whatever may yet become a stop text.

    It works on bytes, because a token may end inside a character. Where several stop texts occur, the one that is
    complete first ends the answer, so the result does not depend on how the text was cut into tokens.
    """

    def __init__(self, vocabulary: Vocabulary, *, stop: Sequence[str] = (), drops_first_space: bool = False) -> None:
        self._vocabulary = vocabulary
        self._stops = [text.encode("utf-8") for text in stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._drops_space = drops_first_space  # until the first word has come
        self._held = b""
        self._num_released_bytes = 0
        self._token_ends: list[int] = []
        self._pieces: list[str] = []
        self.is_stopped = False

    @property
    def text(self) -> str:
        """All the text released so far."""
        return "".join(self._pieces)

    @property
    def num_released_tokens(self) -> int:
        """How many of the first tokens lie wholly in the released text."""
        return bisect_right(self._token_ends, self._num_released_bytes)

    def push(self, token_id: int) -> str:
        """Take one token and return the text that is now certain to belong to the answer."""
        self._held += self._vocabulary.decode_bytes((token_id,))
        self._token_ends.append(self._num_released_bytes + len(self._held))
        found = self._first_stop()
        if found is not None:
            self.is_stopped = True
            return self._release(found, is_last=True)
        return self._release(len(self._held) - self._num_undecided())

    def finish(self) -> str:
        """End an answer that met no stop text: release what was held back."""
        return "" if self.is_stopped else self._release(len(self._held), is_last=True)

    def _release(self, num_bytes: int, *, is_last: bool = False) -> str:
        piece = self._decoder.decode(self._held[:num_bytes], final=is_last)
        self._held = self._held[num_bytes:]
        self._num_released_bytes += num_bytes
        if self._drops_space:
            piece = piece.lstrip(" ")
            self._drops_space = not piece
        self._pieces.append(piece)
        return piece

    def _first_stop(self) -> int | None:
        """Return where the stop text begins that is complete first; the longest, if several end together."""
        starts = [(start + len(stop), start) for stop in self._stops if (start := self._held.find(stop)) >= 0]
        return min(starts)[1] if starts else None

    def _num_undecided(self) -> int:
        """Count the bytes at the end that are the beginning of some stop text."""
        longest = max(map(len, self._stops), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-size:]) for stop in self._stops):
                return size
        return 0
