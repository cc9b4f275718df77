"""The parts of a running server, handed to every route."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from banyan.serve.admission import Admission
from banyan.serve.recording import Recorder
from banyan.serve.served_model import ServedModel
from banyan.serve.settings import ServerSettings
from banyan.store.keys import ApiKey
from banyan.store.sql_store import SqlStore


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerParts:
    """Everything a route needs."""

    model: ServedModel
    store: SqlStore
    recorder: Recorder
    admission: Admission
    settings: ServerSettings


def parts_of(request: Request) -> ServerParts:
    """Return the parts of the server that received a request."""
    parts = request.app.state.parts
    assert isinstance(parts, ServerParts)
    return parts


def request_id_of(request: Request) -> str:
    """Return the ULID that the outermost layer gave the request."""
    return str(request.scope["state"]["request_id"])


def key_id_of(request: Request) -> str | None:
    """Return the id of the key a request came with; None where no key is needed."""
    key = request.scope["state"].get("key")
    return key.key_id if isinstance(key, ApiKey) else None


def may_see_all(request: Request) -> bool:
    """Whether a request may read everybody's stored answers: with an admin key, or where there are no keys."""
    key = request.scope["state"].get("key")
    return not isinstance(key, ApiKey) or "admin" in key.scopes
