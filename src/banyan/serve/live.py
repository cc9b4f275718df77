"""Work that runs beside the connection it answers, so that a client who leaves stops it at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.types import Receive

from banyan.serve.answering import Listener
from banyan.serve.errors import unavailable
from banyan.serve.openai_shapes import Delta

R = TypeVar("R")  # the result of some work


class ClientGone(Exception):
    """The client closed the connection; nobody is left to answer."""


class LiveAnswer(Generic[R]):
    """An answer being written in a task of its own: read its pieces as they come, then its result."""

    def __init__(self, work: Callable[[Listener], Coroutine[Any, Any, R]]) -> None:
        self._pieces: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._has_begun = asyncio.Event()
        self._task = asyncio.create_task(work(self))
        self._task.add_done_callback(self._end)

    def begin(self) -> None:
        """Note that the work has begun."""
        self._has_begun.set()

    def hear(self, delta: Delta) -> None:
        """Keep a piece until it is read."""
        self._pieces.put_nowait(delta)

    def _end(self, _: asyncio.Task[R]) -> None:
        self._has_begun.set()
        self._pieces.put_nowait(None)

    async def until_begun(self) -> None:
        """Wait until the work has begun; raises what the work raised if it could not begin."""
        await self._has_begun.wait()
        if self._task.done():
            await self.result()

    async def pieces(self, *, ping_seconds: float) -> AsyncIterator[Delta | None]:
        """Give every piece in order, and None whenever nothing came for `ping_seconds`."""
        while True:
            try:
                piece = await asyncio.wait_for(self._pieces.get(), ping_seconds)
            except TimeoutError:
                yield None
                continue
            if piece is None:
                return
            yield piece

    async def result(self) -> R:
        """Wait for the whole answer; raises what the work raised, and ApiError 503 if the work was stopped."""
        await asyncio.wait((self._task,))
        return _result_of(self._task)

    async def stop(self) -> None:
        """Cancel the work if it still runs, and wait until it has cleaned up after itself."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def until_disconnected(request: Request, work: Coroutine[Any, Any, R]) -> R:
    """Do some work for a client, and cancel it when the client leaves.

    Raises: ClientGone if the client left first; otherwise what the work raises.
    """
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(disconnection(request.receive))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return _result_of(task)
    finally:
        for each in (task, watcher):
            each.cancel()
        # The work writes its own end to the store; wait for that even though nobody listens any more.
        await asyncio.gather(task, watcher, return_exceptions=True)


def _result_of(task: asyncio.Task[R]) -> R:
    if task.cancelled():
        raise unavailable("shutting_down", "the answer was stopped because this server is shutting down")
    return task.result()


async def disconnection(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
