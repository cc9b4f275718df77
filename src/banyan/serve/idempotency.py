"""Asking twice under one `Idempotency-Key` gives the first answer again, byte for byte, without any work.

What was answered and what is kept for the next asking are committed together before the last byte is sent, so that a
process that dies leaves both or neither; it is kept for a day (see store/retention.py). What a server process is still
answering is refused with 409; several processes know of each other's answers only once they are committed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from banyan.core.logging import log_event
from banyan.serve.errors import ApiError, as_api_error, bad_request, conflict, where_raised
from banyan.serve.frames import DONE, ended_well, event
from banyan.serve.parts import ServerParts
from banyan.serve.quotas import asks_the_model
from banyan.serve.recording import Record
from banyan.serve.request_frame import error_response
from banyan.store.codec import canonical_json, pack_bytes, unpack_bytes
from banyan.store.key_types import StoreMode
from banyan.store.rows import PutRow, WriteOperation
from banyan.store.schema import IdempotentAnswerRow
from banyan.store.sql_store import SqlStore
from banyan.store.times import utc_microseconds

logger = logging.getLogger("banyan.serve")

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,128}")
_MAX_BYTES = 8 << 20  # of an answer that is kept for a second asking


class AlreadyAnswered(Exception):
    """The answer to this request is known; nothing else needs to be done."""

    def __init__(self, response: Response) -> None:
        super().__init__("already answered")
        self.response = response


@dataclass(slots=True)
class Claim:
    """One request under an idempotency key, and its answer as it goes out."""

    place: tuple[str, str]  # the id of the API key, and the idempotency key
    body_sha256: str
    store: SqlStore
    is_kept: bool
    chunks: list[bytes] = field(default_factory=list)
    num_bytes: int = 0
    records: list[Record] = field(default_factory=list)  # whose answers wait to be committed with what is sent

    def hear(self, chunk: bytes) -> None:
        """Remember a piece of the answer, unless it becomes too long to be kept."""
        self.num_bytes += len(chunk)
        if self.is_kept and self.num_bytes <= _MAX_BYTES:
            self.chunks.append(chunk)


class IdempotentAnswers:
    """The layer that keeps answers whose requests were claimed, and gives the claims back.

    What cannot be kept is not given either, or a second asking would be answered otherwise: the client hears 503 in the
    place of the answer, or in a stream in the place of its end.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Watch one answer go out."""
        try:
            await self._app(scope, receive, _Watch(scope, receive, send))
        finally:
            if (claim := _give_back(scope)) is not None:
                for record in claim.records:
                    await record.forsake()


class _Watch:
    """Passes an answer on; the head of one that is sent whole waits until it is kept, so that it may yet be another."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._head: Message | None = None  # that waits
        self._status, self._media_type = 0, ""

    async def __call__(self, message: Message) -> None:
        claim = self._scope["state"].get("claim")
        if claim is None:
            await self._send(message)
        elif message["type"] == "http.response.start":
            await self._begin(message)
        else:
            await self._pass_on(claim, message)

    async def _begin(self, head: Message) -> None:
        self._status = head["status"]
        self._media_type = dict(head["headers"]).get(b"content-type", b"").decode()
        if self._status == 200 and not self._media_type.startswith("text/event-stream"):
            self._head = head
        else:
            await self._send(head)

    async def _pass_on(self, claim: Claim, message: Message) -> None:
        claim.hear(message.get("body", b""))
        is_last = not message.get("more_body") or message["body"].endswith(DONE)
        problem = await self._settle(claim) if is_last else None
        head, self._head = self._head, None
        if problem is not None and head is not None:
            await error_response(problem)(self._scope, self._receive, self._send)
            return
        if head is not None:
            await self._send(head)
        await self._send(message if problem is None else {**message, "body": event(problem.body) + DONE})

    async def _settle(self, claim: Claim) -> ApiError | None:
        """Keep a whole answer and give its claim back; return what the client must hear if it could not be kept."""
        request_id = self._scope["state"]["request_id"]
        try:
            kept = self._kept_row(claim)
            for record in claim.records:
                await record.settle(partial(claim.store.finish, also=kept))
        except Exception as error:
            where = where_raised(error)
            log_event(logger, "answer_not_kept", level=logging.ERROR, request_id=request_id, error=where)
            return as_api_error(error, request_id=request_id)
        finally:
            _give_back(self._scope)  # before its end is heard, so that whoever asks at once is not refused
        return None

    def _kept_row(self, claim: Claim) -> WriteOperation | None:
        """Return what keeps a whole answer for the next asking; None if this one is not to be kept."""
        content = b"".join(claim.chunks)
        if self._status != 200 or not claim.is_kept or len(content) < claim.num_bytes:
            return None
        if self._media_type.startswith("text/event-stream") and not ended_well(content):
            return None
        row = {
            "api_key_id": claim.place[0],
            "idempotency_key": claim.place[1],
            "request_id": self._scope["state"]["request_id"],
            "body_sha256": claim.body_sha256,
            "media_type": self._media_type,
            "content": pack_bytes(content),
            "created_at": utc_microseconds(),
        }
        return PutRow(table=IdempotentAnswerRow, values=row, key=("api_key_id", "idempotency_key"))


def _give_back(scope: Scope) -> Claim | None:
    """Let others use the key of a claim, and return it if it was still held."""
    claim: Claim | None = scope.get("state", {}).pop("claim", None)
    if claim is not None:
        scope["app"].state.parts.claimed.discard(claim.place)
    return claim


async def claim_answer(request: Request, parts: ServerParts, body: dict[str, Any]) -> ServerParts:
    """Claim the answer to a request that carries an idempotency key, and return the parts to answer it with.

    Raises: AlreadyAnswered if its answer is known; ApiError 400 or 409 if the key cannot be used for it, 429 if its
    caller has had too much of what is known.
    """
    given = request.headers.get(HEADER)
    if given is None or not asks_the_model(request.method, request.url.path):
        return parts
    if not _KEY.fullmatch(given):
        raise bad_request("invalid_value", f"{HEADER} must be 1-128 visible ASCII characters")
    caller = parts.caller
    place = (caller.key.key_id if caller.key else "", given)
    digest = sha256(f"{request.url.path}\0{canonical_json(body)}".encode()).hexdigest()
    if place in parts.claimed:
        raise _conflict("this Idempotency-Key is being answered")
    parts.claimed.add(place)  # before the first await, so that no second request comes between
    # The layer outside gives the claim back, whatever happens from here on.
    claim = Claim(place, digest, store=parts.store, is_kept=caller.store_mode is StoreMode.FULL)
    request.scope["state"]["claim"] = claim
    known = await asyncio.to_thread(_find, parts, place)
    if known is None:
        return replace(parts, caller=replace(caller, held=claim.records))
    claim.is_kept = False
    if caller.key is not None:
        parts.quotas.read(caller.key)
    if known.body_sha256 != digest:
        raise _conflict("Idempotency-Key was used with a different request")
    content = unpack_bytes(known.content)
    raise AlreadyAnswered(Response(content, headers={"Content-Type": known.media_type, "Idempotent-Replayed": "true"}))


async def replay(_: Request, known: Exception) -> Response:
    """Give the answer that is known."""
    assert isinstance(known, AlreadyAnswered)
    return known.response


def _find(parts: ServerParts, place: tuple[str, str]) -> Any:
    table = IdempotentAnswerRow
    wanted = select(table.__table__).where(table.api_key_id == place[0], table.idempotency_key == place[1])
    with parts.store.database.read() as connection:
        return connection.execute(wanted).first()


def _conflict(message: str) -> ApiError:
    return conflict(message, code="idempotency_conflict")
