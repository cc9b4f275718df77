"""What uvicorn does with bytes that are no HTTP request: answer in our error shape, and close."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from banyan.core.ids import new_ulid
from banyan.serve.errors import ApiError, bad_request


class StrictProtocol(H11Protocol):
    """HTTP/1.1 whose refusals are JSON with a request id, like all others."""

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
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")


def _what_was_wrong(error: BaseException | None) -> ApiError:
    if isinstance(error, h11.RemoteProtocolError):
        if error.error_status_hint == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            return ApiError(431, "headers_too_large", "request headers too large")
        if "content-length" in str(error).lower():
            return bad_request("bad_content_length", "invalid Content-Length")
    return bad_request("invalid_http", "the bytes sent are not a valid HTTP request")
