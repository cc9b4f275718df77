"""Sends a live answer as server-sent events, and stops it when the client leaves or does not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from banyan.serve.errors import ApiError
from banyan.serve.frames import PING
from banyan.serve.live import LiveAnswer, disconnection
from banyan.serve.openai_shapes import Delta, Usage

Ending = tuple[tuple[str, ...], Usage]  # the finish reason of every choice, and the token counts
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Frames(Protocol):
    """Writes the events of one stream; a piece that is not worth an event is written as nothing."""

    def opening(self) -> bytes:
        """Write what comes first."""
        ...

    def delta(self, delta: Delta) -> bytes:
        """Write a piece."""
        ...

    def ending(self, finish_reasons: Sequence[str], usage: Usage) -> bytes:
        """Write the end of a stream that went well."""
        ...

    def failure(self, error: ApiError) -> bytes:
        """Write the end of one that did not."""
        ...


class EventStream(Response):
    """The streamed form of an answer. The work has been accepted (and stored) before this response begins."""

    def __init__(
        self,
        live: LiveAnswer[Ending],
        writer: Frames,
        *,
        translate: Callable[[BaseException], ApiError],
        ping_seconds: float,
        send_seconds: float,
    ) -> None:
        super().__init__(media_type="text/event-stream", headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._live = live
        self._writer = writer
        self._translate = translate
        self._ping_seconds = ping_seconds
        self._send_seconds = send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, unless the client leaves first."""
        sending = asyncio.create_task(self._send_all(send))
        watcher = asyncio.create_task(disconnection(receive))
        try:
            await asyncio.wait((sending, watcher), return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not isinstance(sending.exception(), TimeoutError | OSError | None):
                raise sending.exception() or RuntimeError("unreachable")
        finally:
            await self._live.stop()
            for task in (sending, watcher):
                task.cancel()
            await asyncio.gather(sending, watcher, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for body in self._frames():
            if not body:  # nothing to say of this piece
                continue
            # A client that does not read would otherwise hold its answer's memory for ever.
            async with asyncio.timeout(self._send_seconds):
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _frames(self) -> AsyncIterator[bytes]:
        try:
            yield self._writer.opening()
            async for piece in self._live.pieces(ping_seconds=self._ping_seconds):
                yield PING if piece is None else self._writer.delta(piece)
            finish_reasons, usage = await self._live.result()
            last = self._writer.ending(finish_reasons, usage)
        except Exception as error:  # whatever it is, the client must hear of it inside the stream
            last = self._writer.failure(self._translate(error))
        yield last
