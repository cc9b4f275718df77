"""The outermost layer: every request gets its number, every answer carries it, and no exception escapes."""

from __future__ import annotations

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from banyan.core.ids import new_ulid
from banyan.core.logging import log_event
from banyan.serve.errors import ApiError, as_api_error, where_raised
from banyan.serve.live import ClientGone
from banyan.serve.metrics import Metrics
from banyan.serve.recording import CLIENT_GONE_STATUS
from banyan.serve.settings import ServerSettings

logger = logging.getLogger("banyan.serve")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def error_response(error: ApiError) -> JSONResponse:
    """Write a refusal as the client gets it."""
    return JSONResponse(error.body, status_code=error.status, headers=error.headers)


class RequestFrame:
    """Numbers requests, limits their headers, and turns whatever goes wrong inside into an error body."""

    def __init__(self, app: ASGIApp, *, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an HTTP request on; there are no web sockets here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await self._frame(scope, receive, send)

    async def _frame(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_ulid()
        told: dict[str, str] = {}  # by the layers inside
        scope.setdefault("state", {}).update(request_id=request_id, headers=told)
        began, status, has_started = time.monotonic(), CLIENT_GONE_STATUS, False

        async def send_framed(message: Message) -> None:
            nonlocal has_started, status
            if message["type"] == "http.response.start":
                has_started, status = True, message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {"X-Request-Id": request_id, **told}.items():
                    headers[name] = value
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check_headers(scope)
            await self._app(scope, receive, send_framed)
        except (ClientGone, ClientDisconnect):
            pass  # the store knows; there is nobody left to tell
        except Exception as error:
            problem = as_api_error(error, request_id=request_id)
            if problem.status == 500:
                log_event(
                    logger, "internal_error", level=logging.ERROR, request_id=request_id, error=where_raised(error)
                )
            if not has_started:
                await error_response(problem)(scope, receive, send_framed)
        finally:
            seconds = time.monotonic() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            # The route as it is written here: what a client typed is no label.
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.count_request(route=route, method=method, status=status, seconds=seconds)

    def _check_headers(self, scope: Scope) -> None:
        headers = scope["headers"]
        num_bytes = sum(len(name) + len(value) + 4 for name, value in headers)
        if len(headers) > self._settings.max_headers or num_bytes > self._settings.max_header_bytes:
            raise ApiError(431, "headers_too_large", "request headers too large", headers={"Connection": "close"})
        names = {name for name, _ in headers}
        if {b"content-length", b"transfer-encoding"} <= names:
            # Two ways to say how long a body is are how requests get smuggled past a proxy.
            raise ApiError(400, "bad_content_length", "invalid Content-Length", headers={"Connection": "close"})
