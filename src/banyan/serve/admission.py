"""Lets requests in while there is room, and none any more once the server has been told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from banyan.serve.errors import unavailable

MAX_TOKENS = 1 << 18  # of prompts and answers together that are worked on at the same time


class Admission:
    """Knows the requests being answered. Used from the event loop only, so taking a place cannot race."""

    def __init__(self, *, max_requests: int, max_tokens: int = MAX_TOKENS) -> None:
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self._num_tokens = 0  # that the requests inside may cost together
        self._inside: dict[asyncio.Task[Any] | None, str] = {}  # with the id of its request, if it has one
        self._called_off: set[str] = set()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self.is_draining = False
        self.is_closed = False  # the time for draining is over; whoever is still inside is stopped

    @property
    def num_inside(self) -> int:
        """Requests being answered now."""
        return len(self._inside)

    @contextmanager
    def place(self, request_id: str = "", *, num_tokens: int = 0) -> Iterator[None]:
        """Hold one place for the time of the block; one for each task.

        `num_tokens` are those of prompt and answer together; who is alone inside may cost whatever it costs.
        Raises: ApiError 503 if the server is full or shutting down.
        """
        if self.is_draining:
            raise unavailable("shutting_down", "this server is shutting down; retry in 5 s", retry_after_seconds=5)
        is_too_much = self._inside and self._num_tokens + num_tokens > self._max_tokens
        if self.num_inside >= self._max_requests or is_too_much:
            raise unavailable("overloaded", "server is at capacity; retry in 2 s")
        task = asyncio.current_task()
        self._inside[task] = request_id
        self._num_tokens += num_tokens
        self._is_empty.clear()
        try:
            yield
        finally:
            del self._inside[task]
            self._num_tokens -= num_tokens
            self._called_off.discard(request_id)
            if not self._inside:
                self._is_empty.set()

    async def call_off(self, request_id: str) -> bool:
        """Stop the work on a request, wait until it has ended, and say whether there was any."""
        task = next((task for task, inside in self._inside.items() if inside == request_id), None)
        if task is None:
            return False
        self._called_off.add(request_id)
        task.cancel()
        await asyncio.wait((task,))
        return True

    def is_called_off(self, request_id: str) -> bool:
        """Whether the work on a request is being stopped because somebody asked for that."""
        return request_id in self._called_off

    async def drain(self, *, timeout_seconds: float) -> None:
        """Let nobody in any more, wait for those inside, and stop those who take too long."""
        self.is_draining = True
        try:
            await asyncio.wait_for(self._is_empty.wait(), timeout_seconds)
        except TimeoutError:
            self.is_closed = True
            for task in self._inside:
                if task is not None:
                    task.cancel()
            await self._is_empty.wait()
