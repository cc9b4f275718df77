"""Asks a real server a number of requests and returns what its database kept of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.store.sql_store import open_store
from banyan.store.types import RequestState, StoredExchange
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.serving import running_server

CONTEXT = 400  # tokens


@contextmanager
def tiny_loaded(directory: Path) -> Iterator[LoadedModel]:
    """Open a tiny model with a task of every kind, written anew from its seed."""
    place = directory / "tiny"
    if not place.exists():
        save_tiny_model(place, max_seq_len=CONTEXT)
    with load(place, device="cpu") as loaded:
        yield loaded


def serve_and_store(
    loaded: LoadedModel, database: Path, asked: Sequence[tuple[str, dict[str, Any]]], *, num_clients: int
) -> list[StoredExchange]:
    """Answer all requests over HTTP from several clients, and return the completed ones as they are stored.

    Raises: AssertionError if one of them was not answered.
    """
    with open_store(f"sqlite:///{database}") as store, running_server(LocalModel(loaded), store) as server:
        with server.client() as client, ThreadPoolExecutor(num_clients) as pool:
            statuses = list(pool.map(lambda one: _ask(client, *one), asked))
        assert set(statuses) == {200}, [one for one, status in zip(asked, statuses, strict=True) if status != 200][:3]
        return [own for own in store.queries.iterate() if own.state is RequestState.COMPLETED]


def _ask(client: httpx.Client, path: str, body: dict[str, Any]) -> int:
    return client.post(path, json=body).status_code
