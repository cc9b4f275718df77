"""Starts and stops a server: take the port, open the store, load the model, answer until told to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from banyan.core.logging import log_event
from banyan.serve.auth import ensure_first_key
from banyan.serve.errors import where_raised
from banyan.serve.http_protocol import StrictProtocol
from banyan.serve.listening import TlsFiles, check_exposure, listen, url_of
from banyan.serve.model_choice import ModelChoice
from banyan.serve.opening import app_with_models
from banyan.serve.parts import ServerParts
from banyan.serve.retention_loop import keeping
from banyan.serve.settings import ServerSettings
from banyan.serve.swapping import reload_models
from banyan.store.retention import RetentionPolicy
from banyan.store.sql_store import open_store

__all__ = ["DrainingServer", "Started", "TlsFiles", "run_app", "serve", "server_config"]

logger = logging.getLogger("banyan.serve")

_FLUSH_SECONDS = 5  # for the last bytes of finished answers
_REQUEST_LINE_BYTES = 8_192


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """What can be told to a person once the server answers."""

    url: str
    model_name: str
    first_key: str | None = dataclasses.field(repr=False)  # to be shown once; None: there were keys before, or none


def serve(
    models: ModelChoice,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    database: str,
    no_auth: bool = False,
    insecure: bool = False,
    tls: TlsFiles | None = None,
    retention: RetentionPolicy | None = None,
    settings: ServerSettings | None = None,
    on_start: Callable[[Started], None] = lambda _: None,
) -> None:
    """Serve models until SIGTERM or Ctrl-C; every answer is stored in the database before it is complete.

    SIGHUP opens the models anew, for they may have been replaced on disk. `retention` says how long things are kept;
    None: for ever. `on_start` hears the address and, on the first start of a database, the key, which nobody can read
    again.
    Raises: SafetyError (12) for an address that is open to strangers; BusyError (8) if the port is in use; StoreError
    (10), FileError (3) or CheckpointError (4) if database or model cannot be used.
    """
    check_exposure(host, no_auth=no_auth, has_tls=tls is not None, insecure=insecure)
    if tls is not None:
        tls.check()
    settings = settings or ServerSettings()
    hosts = tuple(dict.fromkeys((*settings.allowed_hosts, host.lower())))
    settings = dataclasses.replace(settings, needs_key=settings.needs_key and not no_auth, allowed_hosts=hosts)
    has_tls = tls is not None
    with (
        listen(host, port) as listener,
        open_store(database) as store,
        keeping(store.database, retention or RetentionPolicy()),
        app_with_models(models, store, settings=settings) as app,
    ):
        first_key = ensure_first_key(store) if settings.needs_key else None
        name = app.state.parts.model.facts.name
        started = Started(url=url_of(listener, has_tls=has_tls), model_name=name, first_key=first_key)
        log_event(logger, "serving", url=started.url, model=name, needs_key=settings.needs_key)
        reload = partial(reload_models, app)
        run_app(app, listener, tls=tls, on_ready=lambda: on_start(started), reload=reload)
    log_event(logger, "stopped")


def run_app(
    app: FastAPI,
    listener: socket.socket,
    *,
    tls: TlsFiles | None = None,
    on_ready: Callable[[], None] = lambda: None,
    reload: Callable[[], Coroutine[Any, Any, bool]] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is being answered and return; a second signal ends at once.

    `reload` is done at SIGHUP.
    """
    server = _server_of(app, tls=tls, on_ready=on_ready, reload=reload)
    asyncio.run(server.serve(sockets=[listener]))


def _server_of(
    app: FastAPI,
    *,
    tls: TlsFiles | None,
    on_ready: Callable[[], None],
    reload: Callable[[], Coroutine[Any, Any, bool]] | None,
) -> DrainingServer:
    # Nobody but the app may hold its parts while it serves, or a model that was swapped out were never forgotten.
    parts = app.state.parts
    assert isinstance(parts, ServerParts)
    config = server_config(app, parts.settings, tls=tls)
    return DrainingServer(config, parts, on_ready=on_ready, reload=reload)


def server_config(app: FastAPI, settings: ServerSettings, *, tls: TlsFiles | None = None) -> uvicorn.Config:
    """Return how uvicorn runs an app: strictly, silently, trusting nobody."""
    return uvicorn.Config(
        app,
        http=StrictProtocol.with_patience(settings.header_seconds),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="critical",  # its lines quote requests; ours do not
        access_log=False,
        proxy_headers=False,  # nobody is believed about who somebody else is
        server_header=False,
        h11_max_incomplete_event_size=settings.max_header_bytes + _REQUEST_LINE_BYTES,
        timeout_graceful_shutdown=_FLUSH_SECONDS,
        ssl_certfile=str(tls.certificate) if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
    )


class DrainingServer(uvicorn.Server):
    """Answers new requests with 503 while those being answered finish, and only then closes the door."""

    def __init__(
        self,
        config: uvicorn.Config,
        parts: ServerParts,
        *,
        on_ready: Callable[[], None] = lambda: None,
        reload: Callable[[], Coroutine[Any, Any, bool]] | None = None,
    ) -> None:
        super().__init__(config)
        self._reload = reload
        self._reloading: asyncio.Task[bool] | None = None
        self._admission, self._settings = parts.admission, parts.settings
        self._on_ready = on_ready
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and only then say so: from now on a signal is heard."""
        asyncio.get_running_loop().set_exception_handler(_Mishaps())
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, reload on SIGHUP; end the process with 0 (uvicorn would raise them again)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGINT: self.stop, signal.SIGTERM: self.stop, signal.SIGHUP: self.reload}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def reload(self) -> None:
        """Begin to open the models anew; called again meanwhile, do nothing."""
        if self._reload is not None and (self._reloading is None or self._reloading.done()):
            self._reloading = asyncio.create_task(self._reload())

    def stop(self) -> None:
        """Begin to drain; called again, end at once."""
        if self._draining is not None:
            self.force_exit = self.should_exit = True
            return
        log_event(logger, "draining", requests=self._admission.num_inside)
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        await self._admission.drain(timeout_seconds=self._settings.drain_seconds)
        self.should_exit = True


class _Mishaps:
    """Logs in a line what the event loop would write as a traceback, such as want of file descriptors.

    The loop says the same a thousand times in a row where it cannot accept connections; it is noted once a second.
    """

    def __init__(self) -> None:
        self._noted_at: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        reason, error, now = context["message"], context.get("exception"), loop.time()
        if now - self._noted_at.get(reason, now - 2) < 1:
            return
        self._noted_at = {**(self._noted_at if len(self._noted_at) < 100 else {}), reason: now}
        where = "" if error is None else where_raised(error)
        log_event(logger, "event_loop", level=logging.ERROR, reason=reason, error=where)
