"""Bytes to a server over a bare socket, and what came back, read by a strict parser."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import h11

MAX_SECONDS = 5.0  # to a whole answer; beyond it the server counts as hung
_MAX_HEAD_BYTES = 40_960  # as the server allows
_PARALLEL = 24
_ID_CHARACTERS = 26  # of a ULID


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]  # by name in lower case
    body: bytes


@dataclass(kw_only=True, slots=True)
class Exchange:
    """What was sent, and how it ended."""

    sent: bytes
    end: Literal["answered", "closed", "hung", "no HTTP"] = "closed"
    was_whole: bool  # a request that needs an answer, or bytes that no request can begin with
    answer: Answer | None = None
    seconds: float = 0.0


async def send_all(host: str, port: int, requests: Sequence[bytes]) -> list[Exchange]:
    """Send each on a connection of its own, several at a time."""
    places = asyncio.Semaphore(_PARALLEL)

    async def one(data: bytes) -> Exchange:
        async with places:
            return await _exchange(host, port, data)

    return list(await asyncio.gather(*map(one, requests)))


async def _exchange(host: str, port: int, data: bytes) -> Exchange:
    was_whole, method = _first_request(data)
    exchange = Exchange(sent=data, was_whole=was_whole)
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(MAX_SECONDS):
            writer.write(data)
            if not was_whole:
                writer.write_eof()  # there will be no more: the server need not wait for it
            exchange.answer = await _read_answer(reader, method)
            exchange.end = "answered" if exchange.answer else "closed"
    except TimeoutError:
        exchange.end = "hung"
    except h11.RemoteProtocolError as error:
        exchange.end = "closed" if "closed connection" in str(error) else "no HTTP"
    except ConnectionError:
        exchange.end = "closed"
    finally:
        exchange.seconds = time.perf_counter() - began
        writer.close()
    return exchange


def _first_request(data: bytes) -> tuple[bool, str]:
    """Return whether bytes need an answer as they are, and the method of the first request in them."""
    parser, method = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES), "GET"
    if not data:  # to the parser this would be the end
        return False, method
    try:
        parser.receive_data(data)
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                method = event.method.decode("ascii")
            elif event is h11.NEED_DATA:
                return False, method
            elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                return True, method
    except h11.RemoteProtocolError:
        return True, method


@dataclass(slots=True)
class _Reading:
    """An answer as far as it has come."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: list[bytes] = field(default_factory=list)


async def _read_answer(reader: asyncio.StreamReader, method: str) -> Answer | None:
    """Return the first final answer; None if the connection was closed before it began."""
    parser, reading = _parser_after(method), _Reading()
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            chunk = await reader.read(65_536)
            if not chunk and not reading.status:
                return None
            parser.receive_data(chunk)
        elif isinstance(event, h11.Response):
            reading.status = event.status_code
            reading.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            reading.body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status=reading.status, headers=reading.headers, body=b"".join(reading.body))
        elif not isinstance(event, h11.InformationalResponse):
            return None


def _parser_after(method: str) -> h11.Connection:
    """Return a parser that awaits the answer to a method; one to CONNECT is a refusal, with a body like all others."""
    parser = h11.Connection(h11.CLIENT)
    asked = method if method != "CONNECT" else "GET"
    parser.send(h11.Request(method=asked, target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    return parser


# ------------------------------------------------------------------------------- what an answer may be


def complaint_about(answer: Answer, *, asked: bytes) -> str | None:
    """Return what is wrong with an answer to anything whatever; None if nothing is.

    A 503 must say when to come back; a 504 must have been asked for, by a deadline in the request.
    """
    if answer.status < 400:
        is_failure = b'"code":"internal_error"' in answer.body.replace(b" ", b"")
        return "a stream that ends in an internal error" if is_failure else None
    if answer.status == 503 and "retry-after" not in answer.headers:
        return "503 without Retry-After"
    if answer.status >= 500 and answer.status != 503 and not (answer.status == 504 and b"timeout_seconds" in asked):
        return f"status {answer.status}: {answer.body[:200]!r}"
    return _wrong_shape(answer)


def _wrong_shape(answer: Answer) -> str | None:
    """Say how an error differs from {"error": {"message", "type", "param", "code"}} with a request id."""
    if len(answer.headers.get("x-request-id", "")) != _ID_CHARACTERS:
        return f"{answer.status} without a request id"
    if not answer.body:
        return None  # to HEAD
    try:
        error = json.loads(answer.body)["error"]
        texts = [error["message"], error["type"], error["code"]]
        is_right = all(isinstance(text, str) and text for text in texts) and isinstance(error["param"], str | None)
    except (ValueError, KeyError, TypeError):
        is_right = False
    return None if is_right else f"{answer.status} in another shape: {answer.body[:200]!r}"
