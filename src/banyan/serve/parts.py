"""The parts of a running server, handed to every route."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from starlette.requests import Request

from banyan.serve.admission import Admission
from banyan.serve.errors import not_found
from banyan.serve.metrics import Metrics
from banyan.serve.quotas import Quotas
from banyan.serve.readiness import StoreProbe
from banyan.serve.recording import Record, Recorder
from banyan.serve.run_folders import RunFolders
from banyan.serve.searching import Searches
from banyan.serve.served_model import ServedModel
from banyan.serve.settings import ServerSettings
from banyan.store.key_types import ApiKey, StoreMode
from banyan.store.sql_store import SqlStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks."""

    key: ApiKey | None = None  # None: where no key is needed
    headers: dict[str, str] = field(default_factory=dict)  # what the head of the answer will tell, besides
    held: list[Record] | None = None  # where records go whose answers are committed with what is sent, not before

    @property
    def store_mode(self) -> StoreMode:
        """How much is kept of what they ask."""
        return StoreMode.FULL if self.key is None else self.key.store_mode


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerParts:
    """Everything a route needs."""

    model: ServedModel  # that a request asks which names none, and after `choose` the one it names
    adapters: tuple[ServedModel, ...]  # what else may be named: the model under its adapters, and models beside it
    store: SqlStore
    recorder: Recorder
    admission: Admission
    settings: ServerSettings
    quotas: Quotas
    metrics: Metrics
    store_probe: StoreProbe
    caller: Caller = field(default_factory=Caller)  # of the request at hand
    claimed: set[tuple[str, str]] = field(default_factory=set)  # idempotency keys that are being answered
    run_folders: RunFolders = field(default_factory=RunFolders)
    searches: Searches = field(default_factory=Searches)  # of a text
    searches_by_meaning: Searches = field(default_factory=Searches)  # each of which may ask the model for long

    @property
    def models(self) -> tuple[ServedModel, ...]:
        """All that a request may name: the model, and each of its adapters."""
        return (self.model, *self.adapters)

    def choose(self, name: str | None) -> ServerParts:
        """Return the parts with the model that a request names: `model`, `model:adapter`, or `adapter` alone.

        Raises: ApiError 404 if there is none of this name.
        """
        if name is None or name == self.model.facts.name:
            return self
        chosen = next((own for own in self.adapters if name in (own.facts.name, own.facts.adapter)), None)
        if chosen is None:
            message = f'model "{name[:100]}" is not available; see GET /v1/models'
            raise not_found(message, code="model_not_found", param="model")
        return replace(self, model=chosen)


def parts_of(request: Request) -> ServerParts:
    """Return the parts of the server that received a request."""
    parts = request.app.state.parts
    assert isinstance(parts, ServerParts)
    return parts


def request_id_of(request: Request) -> str:
    """Return the ULID that the outermost layer gave the request."""
    return str(request.scope["state"]["request_id"])


def caller_of(request: Request) -> Caller:
    """Return who sent a request."""
    key = request.scope["state"].get("key")
    return Caller(key=key if isinstance(key, ApiKey) else None, headers=request.scope["state"]["headers"])


def key_id_of(request: Request) -> str | None:
    """Return the id of the key a request came with; None where no key is needed."""
    key = caller_of(request).key
    return None if key is None else key.key_id


def may_see_all(request: Request) -> bool:
    """Whether a request may read everybody's stored answers: with an admin key, or where there are no keys."""
    key = caller_of(request).key
    return key is None or "admin" in key.scopes
