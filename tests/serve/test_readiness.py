"""A server is ready only while what it answers can be stored, and finds out by itself when it can be again."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy.exc import OperationalError

from banyan.core.errors import StoreError
from banyan.serve.local_model import LocalModel
from banyan.serve.readiness import StoreProbe
from banyan.store.sql_store import open_store
from banyan.testing.serving import running_server


class Away:
    """A store that was away, whose writes wait to be told how they end."""

    def __init__(self) -> None:
        self.is_available = False
        self.probes: list[Future[Any]] = []

    def probe(self) -> Future[Any]:
        self.probes.append(Future())
        return self.probes[-1]


def test_many_who_want_to_know_cost_one_write_at_a_time() -> None:
    async def ask() -> None:
        store = Away()
        probe = StoreProbe(store, patience_seconds=0.01)
        assert await asyncio.gather(*(probe.takes_writes() for _ in range(50))) == [False] * 50
        assert len(store.probes) == 1
        store.probes[0].set_exception(StoreError("still away"))
        assert not await probe.takes_writes()
        assert not await probe.takes_writes() and len(store.probes) == 2
        store.probes[1].set_result(None)
        probe = StoreProbe(store, patience_seconds=10)
        waiting = asyncio.create_task(probe.takes_writes())
        await asyncio.sleep(0)
        store.probes[-1].set_result(None)
        assert await waiting

    asyncio.run(ask())


def test_nothing_is_written_where_the_last_write_went_well() -> None:
    store = Away()
    store.is_available = True
    assert asyncio.run(StoreProbe(store).takes_writes())
    assert store.probes == []


def test_a_server_is_not_ready_while_its_database_takes_no_writes_and_is_again_afterwards(
    model: LocalModel, tmp_path: Path
) -> None:
    def refuse() -> NoReturn:
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("disk I/O error"))

    with (
        open_store(str(tmp_path / "own.db")) as store,
        running_server(model, store, needs_key=False) as server,
        server.client() as client,
    ):
        assert client.get("/readyz").status_code == 200
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.database, "transaction", refuse)
            assert store.probe().exception(10) is not None
            refused = client.get("/readyz")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_unavailable")
            assert refused.headers["Retry-After"]
            assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 200
        assert store.is_available
