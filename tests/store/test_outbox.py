"""A database may go away: what it misses waits, in order, and is there exactly once in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from banyan.core.errors import StoreError
from banyan.store.outbox import Outbox
from banyan.store.rows import PutRow, WriteOperation
from banyan.store.run_queries import show_run
from banyan.store.run_schema import RunEventRow
from banyan.store.runs import RunLog
from banyan.store.sql_store import SqlStore, open_database, open_store
from banyan.store.times import utc_microseconds
from banyan.store.types import StoredRun

RUN = StoredRun(name="it", kind="train", config={})


class AwayStore:
    """A store whose database is away while somebody says so; a write may be lost after it was made."""

    def __init__(self, store: SqlStore, *, loses_answers: bool = False) -> None:
        self.is_available = False
        self._store = store
        self._loses_answers = loses_answers

    def submit(self, operation: WriteOperation) -> Future[Any]:
        if self.is_available:
            return self._store.submit(operation)
        if self._loses_answers:
            self._store.submit(operation).result()
        future: Future[Any] = Future()
        future.set_exception(StoreError("it is away."))
        return future


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def store(address: str) -> Iterator[SqlStore]:
    with open_store(address) as store:
        yield store


def write_events(outbox: Outbox, *steps: int) -> None:
    log = RunLog(outbox.submit, clock=utc_microseconds)
    log.record_run(RUN)
    for step in steps:
        log.record_event(RUN.run_id, kind="it", step=step, detail={"what": "蓝色"})


def recorded(address: str) -> list[int]:
    database = open_database(address)
    with database.read() as connection:
        events = show_run(connection, "it")["events"]
    database.close()
    return sorted(event["step"] for event in events)


@pytest.mark.parametrize("loses_answers", [False, True], ids=["nothing written", "written, but not acknowledged"])
def test_what_a_database_missed_is_there_once_when_it_is_back(
    store: SqlStore, address: str, tmp_path: Path, loses_answers: bool
) -> None:
    away = AwayStore(store, loses_answers=loses_answers)
    tried = threading.Event()
    outbox = Outbox(cast(SqlStore, away), tmp_path / "box.jsonl", sleep=lambda _: tried.set() or tried.wait(0.001))
    write_events(outbox, 1, 2, 3)
    assert tried.wait(10) and (tmp_path / "box.jsonl").read_text("utf-8").count("\n") == 4
    away.is_available = True
    assert outbox.close() == 0
    assert recorded(address) == [1, 2, 3]
    assert not (tmp_path / "box.jsonl").exists()


def test_what_waits_at_the_end_is_written_by_the_next_process(store: SqlStore, address: str, tmp_path: Path) -> None:
    path = tmp_path / "box.jsonl"
    first = Outbox(cast(SqlStore, AwayStore(store)), path, sleep=lambda _: None)
    write_events(first, 1, 2)
    assert first.close(patience_seconds=0) == 3
    with path.open("a") as file:
        file.write('{"table": "run_ev')  # a crash in the middle of a line
    second = Outbox(store, path)
    write_events(second, 3)
    assert second.close() == 0
    assert recorded(address) == [1, 2, 3]


def test_a_row_that_is_refused_does_not_hold_up_the_others(store: SqlStore, address: str, tmp_path: Path) -> None:
    outbox = Outbox(store, tmp_path / "box.jsonl")
    values = {"id": "x", "run_id": "no such run", "step": 1, "kind": "it", "detail": {}, "at": 0}
    refused = outbox.submit(PutRow(table=RunEventRow, values=values))
    write_events(outbox, 1)
    assert outbox.close() == 0
    assert isinstance(refused.exception(), StoreError)
    assert recorded(address) == [1]
