"""What every POST route does first: take the body, check it, check the model's name and the key's scope."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from banyan.serve.auth import require_scope
from banyan.serve.body import read_object
from banyan.serve.idempotency import claim_answer
from banyan.serve.parts import ServerParts, caller_of, parts_of
from banyan.serve.validation import validate

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")  # the result of some work

_LONG_BODY_BYTES = 4_096  # from here on a check could be felt by those whose streams wait for the event loop
_CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Received(Generic[M]):
    """A request that may be answered."""

    parts: ServerParts
    body: dict[str, Any]  # exactly as it came, for the store
    asked: M
    is_long: bool  # so that reading it takes a while

    async def worked_out(self, work: Callable[[], R]) -> R:
        """Return what is made of the request's texts; where they are long, beside the event loop and its streams."""
        return await asyncio.to_thread(work) if self.is_long else work()


async def receive(request: Request, schema: type[M], *, scope: str = "infer") -> Received[M]:
    """Read and check a request whose key must have a scope.

    Raises: ApiError for everything that can be wrong with it; AlreadyAnswered if it is asked for the second time.
    """
    require_scope(request, scope)
    parts = replace(parts_of(request), caller=caller_of(request))
    limits = parts.settings
    body = await read_object(request, max_bytes=limits.max_body_bytes, timeout_seconds=limits.body_seconds)
    is_long = _takes_long(request, body)
    asked = await asyncio.to_thread(validate, schema, body) if is_long else validate(schema, body)
    parts = await claim_answer(request, parts, body)
    return Received(parts=parts.choose(getattr(asked, "model", None)), body=body, asked=asked, is_long=is_long)


def _takes_long(request: Request, body: dict[str, Any]) -> bool:
    """Whether a check may take long: of much text, of pictures, or of a form that becomes a grammar."""
    num_bytes = request.headers.get("content-length", "")
    return "response_format" in body or not num_bytes.isdigit() or int(num_bytes) > _LONG_BODY_BYTES


def client_label(request: Request) -> str | None:
    """Return the name a client gave its request, if it is harmless; it is a label and never a key."""
    label = request.headers.get("x-client-request-id", "")
    return label if _CLIENT_ID.fullmatch(label) else None
