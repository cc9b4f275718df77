"""Who may come in: every route needs a key unless it is on one short list. There is no other way to open a route."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from banyan.core.logging import log_event
from banyan.serve.errors import ApiError
from banyan.serve.quotas import asks_the_model
from banyan.serve.request_frame import error_response
from banyan.serve.settings import ServerSettings
from banyan.store.key_types import ApiKey
from banyan.store.keys import create_key, list_keys
from banyan.store.sql_store import SqlStore
from banyan.store.times import utc_microseconds

logger = logging.getLogger("banyan.serve")

PUBLIC_PATHS = frozenset({"/", "/livez", "/readyz", "/openapi.json"})  # hold no data; the page asks for the key
PUBLIC_FOLDER = "/assets/"
FIRST_KEY_NAME = "first"
_MAX_THREADS = 4  # that check keys


def is_public(method: str, path: str) -> bool:
    """Whether a route answers without a key."""
    return method in ("GET", "HEAD") and (path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDER))


class RequireKey:
    """Lets a request through if its route is public, its key is valid, or this server needs none."""

    def __init__(self, app: ASGIApp, *, store: SqlStore, settings: ServerSettings) -> None:
        self._app = app
        self._store = store
        self._settings = settings
        # Of their own, so that nothing that reads long in the common threads keeps anybody at the door.
        self._threads = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="banyan-keys")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check one request."""
        if scope["type"] == "http" and not is_public(scope["method"], scope["path"]):
            try:
                await self._admit(scope)
            except ApiError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not self._settings.needs_key:
            _check_host(headers, self._settings.allowed_hosts)
            return
        secret = bearer_token(headers)
        key = None
        if secret is not None:
            # The database is asked every time, so that a revoked key is refused at once.
            key = await asyncio.get_running_loop().run_in_executor(self._threads, self._store.verify_key, secret)
        if key is None:
            log_event(logger, "key_refused", level=logging.INFO, request_id=scope["state"]["request_id"])
            headers_out = {"WWW-Authenticate": "Bearer"}
            raise ApiError(401, "invalid_api_key", "missing or invalid API key", headers=headers_out)
        scope["state"]["key"] = key
        if not asks_the_model(scope["method"], scope["path"]):  # what does is counted with what it may cost
            scope["app"].state.parts.quotas.read(key)


def bearer_token(headers: Headers) -> str | None:
    """Return the key of exactly one `Authorization: Bearer …` header; the scheme in any case, the key as it is."""
    values = headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    token = token.strip(" ")
    return token if scheme.lower() == "bearer" and token else None


def require_scope(request: Request, scope: str) -> None:
    """Refuse a key that was made for something else.

    Raises: ApiError 403.
    """
    key = request.scope["state"].get("key")
    if isinstance(key, ApiKey) and not key.opens(scope):
        raise ApiError(403, "insufficient_scope", f'this key lacks scope "{scope}"')


def ensure_first_key(store: SqlStore) -> str | None:
    """Create the first key of a store and return its secret, to be shown once; None if a valid key exists."""
    now = utc_microseconds()
    if any(key.is_valid(now=now) for key in list_keys(store.database)):
        return None
    return create_key(store.database, name=FIRST_KEY_NAME).secret


def _check_host(headers: Headers, allowed: tuple[str, ...]) -> None:
    """Without keys, only the address itself may be used: another site's name pointed at it is refused."""
    try:
        host = urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:
        host = None
    if host not in allowed:
        raise ApiError(403, "host_not_allowed", f"without keys this server answers only to {', '.join(allowed)}")
