"""What may come next in an answer, looked up: where its last tokens stood before, what followed them there?"""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 4  # tokens that are looked for; then shorter runs
SHORTEST = 2


class PromptLookup:
    """Remembers where each run of a few tokens stood last in a prompt and its answer.

    Source: Saxena 2023, prompt lookup decoding; here the longest run counts, and of equal ones the latest.
    """

    def __init__(self) -> None:
        self.token_ids: list[int] = []  # all that was read
        self._places: dict[tuple[int, ...], int] = {}  # by run: the place behind it

    def __len__(self) -> int:
        return len(self.token_ids)

    def read(self, token_ids: Sequence[int]) -> None:
        """Read on. A run is known once something stands behind it."""
        for token_id in token_ids:
            place = len(self.token_ids)
            for size in range(SHORTEST, min(LONGEST, place) + 1):
                self._places[tuple(self.token_ids[place - size :])] = place
            self.token_ids.append(token_id)

    def guess(self, max_tokens: int) -> tuple[int, ...]:
        """Return what followed the last tokens when they stood here before; nothing if they never did."""
        for size in range(min(LONGEST, len(self)), SHORTEST - 1, -1):
            place = self._places.get(tuple(self.token_ids[-size:]))
            if place is not None:
                return tuple(self.token_ids[place : place + max_tokens])
        return ()
