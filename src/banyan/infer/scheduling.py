"""Who is served next: two lines in which owners take turns, with a budget of tokens for each round.

Requests that are answered token by token wait for slots; those that are answered in one forward pass wait for nothing
but their turn. Neither line can starve the other, and a budget keeps a long prompt from stalling live streams.
"""

from __future__ import annotations

from collections import OrderedDict, deque
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
    def owner(self) -> str:
        """Who asked for it."""
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
    """Owners take turns, and each one's work is served in the order it came.

    Nobody is overtaken within his own work, and a turn is passed over by nobody, so nobody waits for ever; who asks
    for much waits for those who ask for little, not they for him.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[W]] = OrderedDict()  # by owner; whose turn it is comes first

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def join(self, items: Iterable[W]) -> None:
        """Stand at the end of the owner's own line, in this order."""
        for item in items:
            self._waiting.setdefault(item.owner, deque()).append(item)

    def take(self, budget: Budget) -> list[W]:
        """Take as many in turn as the budget pays for; the first one is taken whatever it costs in tokens."""
        taken: list[W] = []
        tokens, slots = budget.num_tokens, budget.num_slots
        while (item := self._next()) is not None:
            if item.num_slots > slots or (taken and item.num_tokens > tokens):
                break
            tokens, slots = tokens - item.num_tokens, slots - item.num_slots
            taken.append(item)
            self._pass_turn(item.owner)
        return taken

    def take_all(self) -> list[W]:
        """Empty the line."""
        taken = [item for own in self._waiting.values() for item in own]
        self._waiting.clear()
        return taken

    def _next(self) -> W | None:
        """Return whose turn it is, and drop on the way what nobody waits for any more."""
        while self._waiting:
            owner, own = next(iter(self._waiting.items()))
            while own and own[0].is_done:
                own.popleft()
            if own:
                return own[0]
            del self._waiting[owner]
        return None

    def _pass_turn(self, owner: str) -> None:
        self._waiting[owner].popleft()
        self._waiting.move_to_end(owner)
