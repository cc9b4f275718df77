"""What uvicorn does with bytes that are no HTTP request: answer in our error shape, and close."""

from __future__ import annotations

import asyncio
import json
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from banyan.core.ids import new_ulid
from banyan.serve.errors import ApiError, bad_request


class StrictProtocol(H11Protocol):
    """HTTP/1.1 whose refusals are JSON with a request id, like all others, and whose headers must come in time."""

    header_seconds = 5.0  # from the first byte of a request, or the begin of a connection, to the end of its headers
    _late: asyncio.TimerHandle | None = None

    @classmethod
    def with_patience(cls, header_seconds: float) -> type[StrictProtocol]:
        """Return the same protocol with other patience; the server makes one object of it for each connection."""
        return type(cls.__name__, (cls,), {"header_seconds": header_seconds})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on, and wait no longer once a request is complete up to its body."""
        if not self._is_answering:
            self._wait()
        super().data_received(data)
        if self._is_answering:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.header_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        """Close a connection whose headers do not come; who sent nothing at all is told nothing."""
        self._late = None
        if self.transport.is_closing() or self._is_answering:
            return
        has_begun = bool(self.conn.trailing_data[0])
        if has_begun and self.conn.our_state is h11.IDLE:
            error = ApiError(408, "header_timeout", "timed out reading the request headers")
            self._send(error, json.dumps(error.body).encode())
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that could not be parsed, unless an answer is already under way; then close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            error = _what_was_wrong(sys.exc_info()[1])  # uvicorn calls this while it handles the exception
            self._send(error, json.dumps(error.body).encode())
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _send(self, error: ApiError, body: bytes) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", new_ulid().encode()),
            (b"connection", b"close"),
        ]
        reason = HTTPStatus(error.status).phrase.encode()
        response = h11.Response(status_code=error.status, headers=headers, reason=reason)
        content = h11.Data(data=b"" if self._has_asked_for_head else body)
        for event in (response, content, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    @property
    def _has_asked_for_head(self) -> bool:
        """Whether the request that waits for an answer is a HEAD; none waits while h11 is IDLE."""
        return self.conn.our_state is h11.SEND_RESPONSE and self.scope["method"] == "HEAD"


def _what_was_wrong(error: BaseException | None) -> ApiError:
    if isinstance(error, h11.RemoteProtocolError):
        if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            return ApiError(431, "headers_too_large", "request headers too large")
        if "content-length" in str(error).lower():
            return bad_request("bad_content_length", "invalid Content-Length")
    return bad_request("invalid_http", "the bytes sent are not a valid HTTP request")
