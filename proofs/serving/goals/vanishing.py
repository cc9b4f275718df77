"""Clients that leave in the middle: before their request is whole, in the line, while prompts are read, in a stream."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from proofs.serving.goals.bench import MODEL_NAME, TASK_NAMES
from proofs.serving.requests import WORDS

_FRAME = re.compile(rb"data: (\{[^\n]*\})\n\n")
_REQUEST_ID = re.compile(rb"\r\nx-request-id: ([0-9A-Z]{26})\r\n", re.IGNORECASE)
_TIMEOUT_SECONDS = 30.0
_MOST_FRAMES = 40
_MOST_WAIT_SECONDS = 0.15

MOMENTS = (
    "in its headers",
    "in its body",
    "at once",
    "in the line",
    "after the head",
    "in the stream",
    "without a stream",
)
_WITHOUT_REQUEST = ("in its headers", "in its body")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What one client does."""

    label: str
    moment: str  # at which it leaves
    path: str
    body: dict[str, Any]
    num_frames: int  # that it reads of a stream
    wait_seconds: float  # before it leaves, where it does not read
    is_abrupt: bool  # a reset instead of an orderly end

    @property
    def has_row(self) -> bool:
        """Whether its request may come into the database."""
        return self.moment not in _WITHOUT_REQUEST


@dataclass(kw_only=True)
class Seen:
    """What it had got when it left."""

    visit: Visit
    request_id: str | None = None
    texts: dict[int, str] = field(default_factory=lambda: defaultdict(str))  # by index of the choice
    left_at: float = 0.0  # time.monotonic()


def visit_of(number: int) -> Visit:
    """Return the visit of a number, always the same one."""
    draw = random.Random(f"visit {number}")
    moment = MOMENTS[number % len(MOMENTS)]
    path, body = _asked(draw, is_streamed=moment in ("after the head", "in the stream") or draw.random() < 0.5)
    if moment == "without a stream":
        body.pop("stream", None)
    return Visit(
        label=f"visit-{number}",
        moment=moment,
        path=path,
        body=body,
        num_frames=draw.randint(1, _MOST_FRAMES),
        wait_seconds=draw.uniform(0, _MOST_WAIT_SECONDS),
        is_abrupt=draw.random() < 0.5,
    )


def vanish(url: str, key: str, visit: Visit) -> Seen:
    """Visit a server, leave, and return what was seen of it until then."""
    address = urlsplit(url)
    body = json.dumps(visit.body).encode()
    lines = [f"POST {visit.path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}"]
    lines += [f"X-Client-Request-Id: {visit.label}", "Content-Type: application/json"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
    seen = Seen(visit=visit)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), _TIMEOUT_SECONDS) as connection:
        if visit.moment == "in its headers":
            connection.sendall(head[: len(head) // 2])
        elif visit.moment == "in its body":
            connection.sendall(head + body[: len(body) // 2])
        else:
            connection.sendall(head + body)
        _stay(connection, visit, seen)
        if visit.is_abrupt:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    seen.left_at = time.monotonic()
    return seen


def _stay(connection: socket.socket, visit: Visit, seen: Seen) -> None:
    if visit.moment == "after the head":
        _read(connection, seen, num_frames=0)
    elif visit.moment == "in the stream":
        _read(connection, seen, num_frames=visit.num_frames)
    elif visit.moment != "at once":
        time.sleep(visit.wait_seconds)


def _read(connection: socket.socket, seen: Seen, *, num_frames: int) -> None:
    """Read the head of an answer and so many frames, or as many as there are."""
    data = b""
    while b"\r\n\r\n" not in data or len(_FRAME.findall(data)) < num_frames:
        more = connection.recv(1 << 14)
        data += more
        if not more or b"data: [DONE]" in data:
            break
    found = _REQUEST_ID.search(data)
    seen.request_id = found[1].decode() if found else None
    for frame in _FRAME.findall(data):
        for choice in json.loads(frame).get("choices", ()):
            seen.texts[choice["index"]] += choice["delta"].get("content") or "" if "delta" in choice else choice["text"]


def _asked(draw: random.Random, *, is_streamed: bool) -> tuple[str, dict[str, Any]]:
    num_tokens = draw.choice((8, 60, 150))
    prompt = " ".join(draw.choices(WORDS, k=draw.choice((3, 30))))
    written = {"model": MODEL_NAME, "max_tokens": num_tokens, "min_tokens": num_tokens, "temperature": 1.0}
    written |= {"n": draw.randint(1, 2), **({"stream": True} if is_streamed else {})}
    if is_streamed or draw.random() < 0.5:
        if draw.random() < 0.5:
            return "/v1/chat/completions", {"messages": [{"role": "user", "content": prompt}], **written}
        return "/v1/completions", {"prompt": prompt, **written}
    others: list[tuple[str, dict[str, Any]]] = [
        ("/v1/embeddings", {"model": MODEL_NAME, "input": [prompt] * 16}),
        ("/v1/images/generations", {"prompt": prompt[:200], "n": 4}),
        (f"/v1/tasks/{TASK_NAMES['summarization']}", {"inputs": [prompt] * 4, "max_tokens": 40}),
        (f"/v1/tasks/{TASK_NAMES['classification']}", {"inputs": [prompt] * 16}),
    ]
    return draw.choice(others)
