"""Starts and stops a server: take the port, open the store, load the model, answer until told to stop."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from banyan.core.logging import log_event
from banyan.runtime.loading import load
from banyan.serve.app import create_app
from banyan.serve.auth import ensure_first_key
from banyan.serve.http_protocol import StrictProtocol
from banyan.serve.listening import TlsFiles, check_exposure, listen, url_of
from banyan.serve.local_model import LocalModel
from banyan.serve.parts import ServerParts
from banyan.serve.retention_loop import keeping
from banyan.serve.settings import ServerSettings
from banyan.store.retention import RetentionPolicy
from banyan.store.sql_store import SqlStore, open_store

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
    model_directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    database: str,
    no_auth: bool = False,
    insecure: bool = False,
    tls: TlsFiles | None = None,
    name: str | None = None,
    adapters: Mapping[str, Path] | None = None,
    base: Path | None = None,
    device: str = "auto",
    num_slots: int = 16,
    retention: RetentionPolicy | None = None,
    settings: ServerSettings | None = None,
    on_start: Callable[[Started], None] = lambda _: None,
) -> None:
    """Serve a model until SIGTERM or Ctrl-C; every answer is stored in the database before it is complete.

    `adapters` are folders by the names that requests give them; `base` is where the model lies, if an adapter is served
    whose model has moved. `retention` says how long things are kept; None: for ever. `on_start` hears the address and,
    on the first start of a database, the key, which nobody can read again.
    Raises: SafetyError (12) for an address that is open to strangers; BusyError (8) if the port is in use; StoreError
    (10), FileError (3) or CheckpointError (4) if database or model cannot be used.
    """
    check_exposure(host, no_auth=no_auth, has_tls=tls is not None, insecure=insecure)
    if tls is not None:
        tls.check()
    settings = settings or ServerSettings()
    hosts = (*settings.allowed_hosts, host.lower())
    settings = dataclasses.replace(settings, needs_key=settings.needs_key and not no_auth, allowed_hosts=hosts)
    has_tls = tls is not None
    with (
        listen(host, port) as listener,
        open_store(database) as store,
        keeping(store.database, retention or RetentionPolicy()),
        load(model_directory, device=device, num_slots=num_slots, base=base) as loaded,
    ):
        for adapter, directory in (adapters or {}).items():
            loaded.load_adapter(adapter, directory)
        model = LocalModel(loaded, name=name)
        under_adapters = [model.under(adapter) for adapter in adapters or {}]
        for served in (model, *under_adapters):
            _register(served, store)
        first_key = ensure_first_key(store) if settings.needs_key else None
        started = Started(url=url_of(listener, has_tls=has_tls), model_name=model.facts.name, first_key=first_key)
        log_event(logger, "serving", url=started.url, model=started.model_name, needs_key=settings.needs_key)
        app = create_app(model, store, adapters=under_adapters, settings=settings)
        run_app(app, listener, tls=tls, on_ready=lambda: on_start(started))
    log_event(logger, "stopped")


def _register(model: LocalModel, store: SqlStore) -> None:
    facts = model.facts
    store.add_model(
        facts.name,
        sha256=facts.sha256,
        tasks=tuple(model.tasks),
        num_parameters=facts.num_parameters,
        max_seq_len=facts.max_seq_len,
    ).result()


def run_app(
    app: FastAPI,
    listener: socket.socket,
    *,
    tls: TlsFiles | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is being answered and return; a second signal ends at once."""
    parts = app.state.parts
    assert isinstance(parts, ServerParts)
    config = server_config(app, parts.settings, tls=tls)
    server = DrainingServer(config, parts, on_ready=on_ready)
    asyncio.run(server.serve(sockets=[listener]))


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
        self, config: uvicorn.Config, parts: ServerParts, *, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._parts = parts
        self._on_ready = on_ready
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and only then say so: from now on a signal is heard."""
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, and let the process end with 0 (uvicorn would raise the signal again)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Begin to drain; called again, end at once."""
        if self._draining is not None:
            self.force_exit = self.should_exit = True
            return
        log_event(logger, "draining", requests=self._parts.admission.num_inside)
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        await self._parts.admission.drain(timeout_seconds=self._parts.settings.drain_seconds)
        self.should_exit = True
