import os
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import OperationalError

from banyan.core.errors import StoreError
from banyan.store.failures import RefusedRowError, UncertainWriteError
from banyan.store.rows import WriteOperation
from banyan.store.schema import DeadLetterRow
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.writer import WriterConfig
from banyan.testing.store import tiny_request


@dataclass(frozen=True)
class Insert:
    """Puts one number into a table of the test; -1 is refused by the table."""

    number: int
    num_bytes: int = 8

    def apply(self, connection: Connection) -> int:
        connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": self.number})
        return self.number

    def payload(self) -> Mapping[str, Any]:
        return {"number": self.number, "raw": b"\0\xff", "text": "\ud800\0嗨"}


@dataclass(frozen=True)
class Gate(Insert):
    """Holds the writer up, so that all that comes meanwhile waits together."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def apply(self, connection: Connection) -> int:
        self.reached.set()
        assert self.opened.wait(10)
        return super().apply(connection)


class Forgetful(Insert):
    """Takes the whole transaction with it, as SQLite may do where memory runs out."""

    def apply(self, connection: Connection) -> int:
        connection.exec_driver_sql("ROLLBACK")
        raise MemoryError("out of memory")


def as_one_batch(store: SqlStore, operations: Sequence[WriteOperation]) -> list[Future[Any]]:
    gate = Gate(1000)
    store.submit(gate)
    assert gate.reached.wait(10)
    futures = [store.submit(operation) for operation in operations]
    gate.opened.set()
    return futures


@pytest.fixture
def numbers(store: SqlStore) -> SqlStore:
    with store.database.write() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER CHECK (number >= 0))"))
    return store


def stored(store: SqlStore) -> list[int]:
    with store.database.read() as connection:
        return list(connection.scalars(text("SELECT number FROM numbers")))


def test_a_future_resolves_only_after_its_commit(file_store: SqlStore) -> None:
    request = tiny_request()
    seen: list[int] = []

    def look(_: Future[str]) -> None:
        path = file_store.database.path
        assert path is not None
        with sqlite3.connect(path) as other:
            seen.extend(other.execute("SELECT count(*) FROM requests WHERE id = ?", (request.request_id,)).fetchone())
        other.close()

    future = file_store.begin(request)
    future.add_done_callback(look)
    future.result(10)
    file_store.flush()
    assert seen == [1]


@pytest.mark.parametrize("place", [0, 17, 63])
def test_a_poison_row_is_set_aside_and_its_neighbours_are_stored_in_order(numbers: SqlStore, place: int) -> None:
    given = list(range(64))
    given[place] = -1
    futures = [numbers.submit(Insert(number)) for number in given]
    with pytest.raises(StoreError, match="refused a row"):
        futures[place].result(10)
    good = [number for number in given if number >= 0]
    assert [future.result(10) for future in futures if future is not futures[place]] == good
    assert stored(numbers) == good


def test_the_good_writes_of_a_refused_batch_share_one_commit(numbers: SqlStore) -> None:
    begun: list[int] = []
    original = numbers.database.transaction
    numbers.database.transaction = lambda: begun.append(1) or original()  # type: ignore[method-assign,func-returns-value]
    given = [number if number % 7 else -1 for number in range(64)]
    futures = as_one_batch(numbers, [Insert(number) for number in given])
    refused = [isinstance(future.exception(10), RefusedRowError) for future in futures]
    assert refused == [number < 0 for number in given]
    assert stored(numbers) == [1000, *(number for number in given if number >= 0)]
    assert numbers.queries.counts().num_dead_letters == numbers.num_refused == sum(refused)
    assert len(begun) == 3  # the gate, the batch, and the batch with savepoints


def test_a_write_that_takes_the_savepoints_along_stops_no_other(numbers: SqlStore) -> None:
    if not numbers.database.is_sqlite:
        pytest.skip("PostgreSQL gives up no transaction by itself")
    futures = as_one_batch(numbers, [Insert(1), Forgetful(2), Insert(3)])
    assert isinstance(futures[1].exception(10), RefusedRowError)
    assert [futures[place].result(10) for place in (0, 2)] == [1, 3]
    assert stored(numbers) == [1000, 1, 3]
    assert numbers.queries.counts().num_dead_letters == 1


def test_a_dead_letter_holds_all_of_the_refused_write(numbers: SqlStore) -> None:
    numbers.submit(Insert(-1)).exception(10)
    with numbers.database.read() as connection:
        letter = connection.execute(select(DeadLetterRow.__table__)).one()
    assert letter.source == "Insert"
    assert letter.payload == '{"number": -1, "raw": {"base64": "AP8="}, "text": "\\ud800\\u0000\\u55e8"}'
    assert "check" in letter.error.lower()


def test_values_that_no_database_takes_fail_alone(store: SqlStore) -> None:
    poison = [
        tiny_request(seed=2**80),
        tiny_request(client_request_id="\ud800"),
        tiny_request(params={"temperature": float("nan")}),
        tiny_request(num_choices=0),
        tiny_request(params={"object": object()}),
        tiny_request(api_key_id="nobody"),
    ]
    good = [tiny_request() for _ in poison]
    futures = [store.begin(request) for pair in zip(poison, good, strict=True) for request in pair]
    assert [type(future.exception(10)) for future in futures[::2]] == [RefusedRowError] * len(poison)
    assert [future.result(10) for future in futures[1::2]] == [request.request_id for request in good]
    counts = store.queries.counts()
    assert (counts.num_requests, counts.num_dead_letters) == (len(good), len(poison))


def test_an_overlong_label_never_stops_the_others(store: SqlStore) -> None:
    long = store.begin(tiny_request(client_request_id="é" * 100_000))
    assert store.begin(tiny_request()).result(10)
    assert long.exception(10) is None or isinstance(long.exception(), StoreError)


def test_writes_that_come_together_share_a_commit(numbers: SqlStore) -> None:
    commits: list[int] = []
    original = numbers.database.transaction
    numbers.database.transaction = lambda: commits.append(1) or original()  # type: ignore[method-assign,func-returns-value]
    for future in as_one_batch(numbers, [Insert(number) for number in range(640)]):
        future.result(10)
    assert len(commits) == 1 + 640 // WriterConfig().max_batch_rows  # the gate, and full batches


def test_who_writes_alone_waits_for_nobody(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "a.db"), writer=WriterConfig(max_wait_seconds=3600)) as store:
        for _ in range(3):
            assert store.begin(tiny_request()).result(60)


def test_a_full_disk_fails_the_write_and_later_writes_go_on(
    file_store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    def limit(pages: int) -> None:
        with file_store.database.write() as connection:
            connection.execute(text(f"PRAGMA max_page_count={pages}"))

    limit(1)
    futures = [file_store.begin(tiny_request(body={"prompt": os.urandom(9000).hex()})) for _ in range(100)]
    messages = {str(future.exception(10)) for future in futures if future.exception(10)}
    assert len(messages) == 1 and "the disk is full" in messages.pop()
    assert not file_store.is_available
    limit(1 << 30)
    assert file_store.begin(tiny_request()).result(10)
    assert file_store.is_available
    assert [record.getMessage().split()[0] for record in caplog.records] == ["store_outage", "store_is_back"]
    failed = sum(future.exception() is not None for future in futures)
    counts = file_store.queries.counts()
    assert (counts.num_requests, counts.num_dead_letters) == (len(futures) - failed + 1, 0)


def test_a_lock_held_by_another_process_delays_a_write_but_loses_nothing(file_store: SqlStore) -> None:
    path = file_store.database.path
    assert path is not None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    future = file_store.begin(tiny_request())
    time.sleep(0.1)
    assert not future.done()
    other.execute("COMMIT")
    other.close()
    assert future.result(10)


def test_a_lock_that_is_never_given_back_is_reported(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "a.db"), writer=WriterConfig(patience_seconds=0)) as store:
        with store.database.write() as connection:
            connection.execute(text("PRAGMA busy_timeout=20"))
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another process"):
            store.begin(tiny_request()).result(10)
        other.execute("ROLLBACK")
        other.close()
        assert store.begin(tiny_request()).result(10)


@pytest.mark.parametrize("was_cut_off", [True, False])
def test_a_write_that_was_cut_off_says_that_it_may_be_there(
    file_store: SqlStore, monkeypatch: pytest.MonkeyPatch, was_cut_off: bool
) -> None:
    refused = OperationalError("BEGIN", {}, Exception("connection refused"))
    cut_off = OperationalError("COMMIT", {}, Exception("server closed the connection"), connection_invalidated=True)
    problems = iter([cut_off, refused] if was_cut_off else [refused])

    def transaction() -> AbstractContextManager[Connection]:
        raise next(problems)

    with monkeypatch.context() as patch:
        patch.setattr(file_store.database, "transaction", transaction)
        failure = file_store.begin(tiny_request()).exception(10)
    assert type(failure) is (UncertainWriteError if was_cut_off else StoreError)
    assert "connection refused" in str(failure)


def test_the_writer_survives_a_mistake_of_ours(store: SqlStore, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Insert):
        def apply(self, connection: Connection) -> int:
            raise RuntimeError("bug")

        def payload(self) -> Mapping[str, Any]:
            raise RuntimeError("bug in the report of the bug")

    writes = [store.submit(Broken(1)), *(store.begin(tiny_request()) for _ in range(20)), store.submit(Broken(2))]
    assert [type(writes[place].exception(10)) for place in (0, -1)] == [RefusedRowError] * 2
    assert all(write.result(10) for write in writes[1:-1])


def test_a_cancelled_future_stops_nobody(store: SqlStore) -> None:
    with store.database.read() if store.database.is_in_memory else threading.Lock():
        futures = [store.begin(tiny_request()) for _ in range(20)]
        for future in futures[::2]:
            future.cancel()
    assert all(future.result(10) for future in futures[1::2])
