"""Asks an app of this process as a client would, without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import FastAPI
from starlette.types import Message, Scope


async def post(app: FastAPI, path: str, body: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Send a request to an app in this process; return the headers and the JSON body of its answer."""
    # As short as any client can write it, or what was small enough for the server would not be so any more.
    sent = [json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()]
    headers: dict[str, str] = {}
    received: list[bytes] = []

    async def receive() -> Message:
        if sent:
            return {"type": "http.request", "body": sent.pop(), "more_body": False}
        await asyncio.Event().wait()  # a client that never leaves
        raise AssertionError

    async def send(message: Message) -> None:
        headers.update({name.decode(): value.decode() for name, value in message.get("headers", ())})
        received.append(message.get("body", b""))

    await app(_scope(path, num_bytes=len(sent[0])), receive, send)
    return headers, json.loads(b"".join(received))


def _scope(path: str, *, num_bytes: int) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(num_bytes).encode()),
        ],
        "client": ("127.0.0.1", 0),
        "server": ("localhost", 80),
    }
