"""Searches through what is stored: few at once and in threads of their own, so that keys can be checked meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeAlias, TypeVar

from banyan.serve.errors import ApiError

R = TypeVar("R")  # what a search finds
IsOver: TypeAlias = Callable[[], bool]  # asked by a search, now and then, whether it must end

MAX_TOGETHER = 2
MAX_OF_ONE_KEY = 4  # under way, or waiting for a thread


class Searches:
    """Runs searches, in the order they come. Used from the event loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_TOGETHER, thread_name_prefix="banyan-search")
        self._by_owner: Counter[str] = Counter()

    async def run(self, work: Callable[[IsOver], R], *, owner: str, seconds: float) -> R:
        """Search and return what was found; a search is over after some seconds, or when nobody waits for it.

        Raises: ApiError 429 if the owner has too many of them under way; what the work raises.
        """
        if self._by_owner[owner] >= MAX_OF_ONE_KEY:
            message = f"limit of {MAX_OF_ONE_KEY} searches at once reached; retry in 1 s"
            raise ApiError(429, "rate_limit_exceeded", message, headers={"Retry-After": "1"})
        self._by_owner[owner] += 1
        try:
            return await self._run(work, seconds)
        finally:
            self._by_owner[owner] -= 1
            self._by_owner += Counter()  # forgets who has none

    async def _run(self, work: Callable[[IsOver], R], seconds: float) -> R:
        nobody_waits = Event()

        def begin() -> R:
            ends_at = time.monotonic() + seconds
            return work(lambda: nobody_waits.is_set() or time.monotonic() >= ends_at)

        future = self._threads.submit(begin)
        heard = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(heard)
        finally:
            nobody_waits.set()
            if not future.cancel():  # its thread is busy until it has heard of that
                await asyncio.gather(heard, return_exceptions=True)
