"""A tiny model of every kind of task, and a server of it in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

from banyan.core.model_directory import IMAGE_TOKENIZER_FILE, new_model_directory
from banyan.model.checkpoint import save_model
from banyan.runtime.description import describe_model, write_description
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.app import create_app
from banyan.serve.listening import listen, url_of
from banyan.serve.local_model import LocalModel
from banyan.serve.parts import ServerParts
from banyan.serve.server import _DrainingServer, server_config
from banyan.serve.settings import ServerSettings
from banyan.store.keys import create_key
from banyan.store.sql_store import SqlStore, open_store
from banyan.testing.models import tiny_model, tiny_model_config
from banyan.testing.tasks import NUM_CODES, TASKS, VOCABULARY
from banyan.tokenizers.images import save_image_tokenizer
from banyan.tokenizers.patch_codebook import PatchCodebook
from banyan.tokenizers.pictures import image_from_array

CONTEXT = 192


def save_tiny_model(path: Path, *, seed: int = 0) -> Path:
    """Write a model directory whose weights are random and whose tasks are of every kind."""
    tasks = list(TASKS.values())
    config = tiny_model_config(vocab_size=VOCABULARY.size, num_image_codes=NUM_CODES, grid_size=2, max_seq_len=CONTEXT)
    heads = [task.head for task in tasks if task.head is not None]
    generator = np.random.default_rng(seed)
    pictures = [image_from_array(generator.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(16)]
    codebook = PatchCodebook.train(pictures, patch_size=4, num_codes=NUM_CODES, seed=seed)
    with new_model_directory(path) as directory:
        save_model(tiny_model(config, heads, seed=seed, std=0.3), directory)
        VOCABULARY.save(directory)
        save_image_tokenizer(codebook, directory / IMAGE_TOKENIZER_FILE)
        write_description(directory, describe_model(tasks, image_tokenizer=codebook))
    return path


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def loaded(model_directory: Path) -> Iterator[LoadedModel]:
    with load(model_directory, device="cpu", num_slots=4) as loaded:
        yield loaded


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A server that answers, with its insides within reach."""

    url: str
    key: str
    app: FastAPI
    store: SqlStore

    @property
    def parts(self) -> ServerParts:
        parts = self.app.state.parts
        assert isinstance(parts, ServerParts)
        return parts

    def client(self, **settings: object) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **settings)  # type: ignore[arg-type]


class ServerThread:
    """Runs an app on a free port until it is told to stop."""

    def __init__(self, app: FastAPI) -> None:
        self._listener = listen("127.0.0.1", 0)
        self.url = url_of(self._listener, has_tls=False)
        parts = app.state.parts
        self._server = _DrainingServer(server_config(app, parts.settings), parts)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._server.serve(sockets=[self._listener]))
        self._loop.close()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()

    @property
    def uvicorn(self) -> uvicorn.Server:
        return self._server


def run_server(loaded: LoadedModel, store: SqlStore, **settings: object) -> Iterator[RunningServer]:
    app = create_app(LocalModel(loaded, name="tiny"), store, settings=ServerSettings(**settings))  # type: ignore[arg-type]
    key = create_key(store.database, name="test").secret
    thread = ServerThread(app)
    try:
        yield RunningServer(url=thread.url, key=key, app=app, store=store)
    finally:
        thread.stop()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    path = tmp_path_factory.mktemp("store") / "banyan.db"
    with open_store(f"sqlite:///{path}") as store:
        yield store


@pytest.fixture(scope="session")
def server(loaded: LoadedModel, store: SqlStore) -> Iterator[RunningServer]:
    yield from run_server(loaded, store)


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
