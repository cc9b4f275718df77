"""Who is served next: two lines, first come first served, with a budget of tokens for each round.

Requests that are answered token by token wait for slots; those that are answered in one forward pass wait for nothing
but their turn. Neither line can starve the other, and a budget keeps a long prompt from stalling live streams.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """Anything that can stand in line."""

    @property
    def num_tokens(self) -> int:
        """Tokens to read, which is what the work costs."""
        ...

    @property
    def num_slots(self) -> int:
        """Rows of the cache it needs at once."""
        ...

    @property
    def is_done(self) -> bool:
        """Whether nobody waits for it any more."""
        ...


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What one round may spend."""

    num_tokens: int
    num_slots: int


class Line(Generic[W]):
    """First come, first served; nobody is overtaken, so nobody waits for ever."""

    def __init__(self) -> None:
        self._waiting: deque[W] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, items: Iterable[W]) -> None:
        """Stand at the end of the line, in this order."""
        self._waiting.extend(items)

    def take(self, budget: Budget) -> list[W]:
        """Take from the front as many as the budget pays for; the first one is taken whatever it costs in tokens."""
        taken: list[W] = []
        tokens, slots = budget.num_tokens, budget.num_slots
        while self._waiting:
            item = self._waiting[0]
            if not item.is_done:
                if item.num_slots > slots or (taken and item.num_tokens > tokens):
                    break
                tokens, slots = tokens - item.num_tokens, slots - item.num_slots
                taken.append(item)
            self._waiting.popleft()
        return taken

    def take_all(self) -> list[W]:
        """Empty the line."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
