"""Whether the database takes writes again after one has failed: found out by asking it to write something."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, Protocol

PATIENCE_SECONDS = 1.0


class Probed(Protocol):
    """A store, as far as it matters here."""

    @property
    def is_available(self) -> bool:
        """Whether the last write found the database in order."""
        ...

    def probe(self) -> Future[Any]:
        """Write something that changes nothing."""
        ...


class StoreProbe:
    """Asks a store that was away, once at a time, however many want to know. Used from the event loop only."""

    def __init__(self, store: Probed, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._store = store
        self._patience_seconds = patience_seconds
        self._writing: asyncio.Future[Any] | None = None

    async def takes_writes(self) -> bool:
        """Whether the last write went well; if not, whether one does now."""
        if self._store.is_available:
            return True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.wrap_future(self._store.probe())
        await asyncio.wait((self._writing,), timeout=self._patience_seconds)
        return self._writing.done() and self._writing.exception() is None
