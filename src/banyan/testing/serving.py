"""A server in a thread of the test's own process, with its insides within reach."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
from fastapi import FastAPI

from banyan.core.types import Completion, Prompt
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.app import create_app
from banyan.serve.listening import listen, url_of
from banyan.serve.local_model import LocalModel
from banyan.serve.model_choice import ModelChoice
from banyan.serve.opening import app_with_models
from banyan.serve.parts import ServerParts
from banyan.serve.served_model import PieceListener, ServedModel
from banyan.serve.server import DrainingServer, server_config
from banyan.serve.settings import ServerSettings
from banyan.store.keys import create_key
from banyan.store.sql_store import SqlStore

Script: TypeAlias = Callable[[PieceListener], Awaitable[Completion]]


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A server that answers."""

    url: str
    key: str = field(repr=False)
    app: FastAPI
    store: SqlStore
    thread: ServerThread

    @property
    def parts(self) -> ServerParts:
        """What its routes hold."""
        parts = self.app.state.parts
        assert isinstance(parts, ServerParts)
        return parts

    def client(self, **settings: Any) -> httpx.Client:
        """Return a client that shows the key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        # Without `verify` a client reads no certificates, which takes longer than most tests.
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=False, **settings)


class ScriptedModel(LocalModel):
    """A model whose answers follow a script: pieces of text, then an end, an error, or silence."""

    def __init__(self, loaded: LoadedModel, script: Script) -> None:
        super().__init__(loaded)
        self._script = script
        self.num_running = 0  # answers in the making

    async def answer(
        self, prompt: Prompt, sampling: SamplingConfig, *, listener: PieceListener | None = None, owner: str = ""
    ) -> Completion:
        """Follow the script."""
        self.num_running += 1
        try:
            return await self._script(listener or (lambda _: None))
        finally:
            self.num_running -= 1


class ServerThread:
    """Runs an app on a free port until it is told to stop."""

    def __init__(self, app: FastAPI) -> None:
        self._listener = listen("127.0.0.1", 0)
        self.url = url_of(self._listener, has_tls=False)
        self._loop = asyncio.new_event_loop()
        parts = app.state.parts
        self._server = DrainingServer(server_config(app, parts.settings), parts)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def ident(self) -> int | None:
        """The number of the thread whose event loop serves."""
        return self._thread.ident

    def _run(self) -> None:
        self._loop.run_until_complete(self._server.serve(sockets=[self._listener]))
        self._loop.close()

    def tell_to_stop(self) -> None:
        """Do what SIGTERM does."""
        self._loop.call_soon_threadsafe(self._server.stop)

    def stop(self) -> None:
        """Tell the server to stop and wait until it has."""
        if self._thread.is_alive():
            self.tell_to_stop()
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), "the server did not stop"


@contextmanager
def running_server(
    model: ServedModel, store: SqlStore, *, adapters: Sequence[ServedModel] = (), **settings: Any
) -> Iterator[RunningServer]:
    """Serve a model for the time of the block; `settings` are fields of ServerSettings."""
    app = create_app(model, store, adapters=adapters, settings=ServerSettings(**settings))
    key = create_key(store.database, name="test").secret
    thread = ServerThread(app)
    try:
        yield RunningServer(url=thread.url, key=key, app=app, store=store, thread=thread)
    finally:
        thread.stop()


@contextmanager
def client_of_models(choice: ModelChoice, store: SqlStore) -> Iterator[httpx.Client]:
    """Open models as the command does, serve them without keys for the time of the block, and give a client of them."""
    with app_with_models(choice, store, settings=ServerSettings(needs_key=False)) as app:
        thread = ServerThread(app)
        try:
            with httpx.Client(base_url=thread.url, timeout=60, verify=False) as client:
                yield client
        finally:
            thread.stop()
