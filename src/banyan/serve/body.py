"""Takes a request body off the wire: type, size and time are limited before anything is parsed."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request

from banyan.serve.errors import ApiError
from banyan.serve.strict_json import parse_object


async def read_object(request: Request, *, max_bytes: int, timeout_seconds: float) -> dict[str, Any]:
    """Read the body of a request as a strict JSON object.

    Raises: ApiError 400, 408, 413 or 415; starlette's ClientDisconnect if the client left.
    """
    _check_content_type(request.headers.get("content-type", ""))
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared[:20]) > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(timeout_seconds):
            raw = await _read_all(request, max_bytes=max_bytes)
    except TimeoutError as error:
        raise ApiError(408, "body_timeout", "timed out reading the request body") from error
    return parse_object(raw)


async def _read_all(request: Request, *, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> ApiError:
    # The rest of the body is thrown away as it comes; closing at once would reset the connection, and a client that is
    # still sending would never read why.
    return ApiError(413, "body_too_large", f"request body exceeds {max_bytes} bytes")


def _check_content_type(value: str) -> None:
    kind, _, rest = value.lower().partition(";")
    parameters = dict(part.strip().partition("=")[::2] for part in rest.split(";") if part.strip())
    charset = parameters.pop("charset", "utf-8").strip('"')
    if kind.strip() != "application/json" or charset not in ("utf-8", "utf8"):
        raise ApiError(415, "unsupported_media_type", "use application/json; charset=utf-8")
