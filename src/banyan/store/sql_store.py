"""The store over SQL: one class for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from banyan.core.errors import StoreError
from banyan.store.database import Database
from banyan.store.failures import shown_url
from banyan.store.key_types import ApiKey
from banyan.store.keys import KeyChecker
from banyan.store.migrate import check_version, has_tables, upgrade
from banyan.store.operations import (
    AddFeedback,
    AddModel,
    BeginRequest,
    FinishRequest,
    NoteProgress,
    RecordExchange,
)
from banyan.store.presence import Presence
from banyan.store.queries import StoreQueries
from banyan.store.recovery import end_instance, recover, register_instance
from banyan.store.rows import ChangeRow, Together, WriteOperation
from banyan.store.runs import RunLog
from banyan.store.schema import ServerInstanceRow
from banyan.store.times import utc_microseconds
from banyan.store.types import RequestId, StoredAnswer, StoredFeedback, StoredRequest
from banyan.store.writer import GroupWriter, WriterConfig


class SqlStore:
    """Remembers requests and answers in a SQL database. Safe to call from many threads at once."""

    def __init__(
        self,
        database: Database,
        *,
        writer: WriterConfig | None = None,
        clock: Callable[[], int] = utc_microseconds,
    ) -> None:
        self.database = database
        self._clock = clock
        self._presence = Presence(database.path and database.path.resolve().parent)
        try:
            with database.write() as connection:
                self.num_recovered = recover(connection, at=clock(), is_alone=self._presence.is_alone)
            self._presence.share()  # before this process is known, or one that comes meanwhile would think it dead
            with database.write() as connection:
                self.instance_id = register_instance(connection, at=clock())
        except BaseException:
            self._presence.close()
            raise
        self._writer = GroupWriter(database, config=writer)
        self.runs = RunLog(self.submit, clock=clock)
        self.queries = StoreQueries(database)
        self._keys = KeyChecker(database, self.submit, clock=clock)
        self._is_closed = False

    def __repr__(self) -> str:
        return f"SqlStore({shown_url(self.database.url)!r})"

    def __enter__(self) -> SqlStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_waiting(self) -> int:
        """Writes that are not committed yet."""
        return self._writer.num_waiting

    @property
    def num_refused(self) -> int:
        """Writes of this process that the database would not take; they are among the dead letters."""
        return self._writer.num_refused

    @property
    def is_available(self) -> bool:
        """Whether the last write found the database in order."""
        return self._writer.is_available

    def begin(self, request: StoredRequest) -> Future[RequestId]:
        """Write a request before any work on it begins; the future fails with StoreError if the store is overloaded."""
        return self._writer.submit(BeginRequest(request=request, instance_id=self.instance_id))

    def progress(self, request_id: RequestId, partial_text: str) -> None:
        """Note what has been answered so far; may be dropped under load."""
        self._writer.submit(NoteProgress(request_id=request_id, text=partial_text, at=self._clock()))

    def finish(self, request_id: RequestId, answer: StoredAnswer, *, also: WriteOperation | None = None) -> Future[Any]:
        """Write the end of a request with all its outputs, once; later calls change nothing.

        `also` is committed together with it, or not at all.
        """
        finish: WriteOperation = FinishRequest(request_id=request_id, answer=answer)
        whole = finish if also is None else Together(operations=(finish, also))
        return self._writer.submit(whole, is_owed=True)

    def record(self, request: StoredRequest, answer: StoredAnswer) -> Future[RequestId]:
        """Write a request and its answer in one step, as batch work does."""
        begin = BeginRequest(request=request, instance_id=self.instance_id)
        finish = FinishRequest(request_id=request.request_id, answer=answer)
        return self._writer.submit(RecordExchange(begin=begin, finish=finish))

    def add_feedback(self, feedback: StoredFeedback) -> Future[str]:
        """Keep what a person thought of an answer; fails with InputError if there is no such request."""
        return self._writer.submit(AddFeedback(feedback=feedback))

    def add_model(
        self,
        name: str,
        *,
        sha256: str,
        tasks: Sequence[str] | None = None,
        num_parameters: int | None = None,
        max_seq_len: int | None = None,
    ) -> Future[str]:
        """Remember a model's facts and return its id."""
        facts = {"num_parameters": num_parameters, "max_seq_len": max_seq_len}
        known_tasks = None if tasks is None else tuple(tasks)
        return self.submit(AddModel(name=name, sha256=sha256, at=self._clock(), tasks=known_tasks, **facts))

    def verify_key(self, secret: str) -> ApiKey | None:
        """Return the key a caller showed, if it is known and valid now; its last use is noted in the background."""
        return self._keys.verify(secret)

    def probe(self) -> Future[Any]:
        """Write something that changes nothing; the future fails where the database takes no writes."""
        same = {"ended_at": None}  # as long as this process lives
        return self.submit(ChangeRow(table=ServerInstanceRow, key={"id": self.instance_id}, values=same))

    def submit(self, operation: WriteOperation) -> Future[Any]:
        """Queue any other write of this package."""
        return self._writer.submit(operation)

    def flush(self, *, timeout_seconds: float | None = None) -> bool:
        """Wait until everything submitted so far is settled, and say whether it is."""
        return self._writer.flush(timeout_seconds=timeout_seconds)

    def close(self) -> None:
        """Write what is waiting, mark unfinished requests as interrupted, and let go of the database."""
        if self._is_closed:
            return
        self._is_closed = True
        self._writer.close()
        try:
            with self.database.write() as connection:
                end_instance(connection, self.instance_id, reason="closed", at=self._clock())
        finally:
            self.database.close()
            self._presence.close()


def open_database(address: str, *, create: bool = False) -> Database:
    """Connect to a database whose tables are exactly those this program knows.

    With `create`, an empty database is set up; an older one is never upgraded unasked.
    Raises: StoreError if it cannot be reached, is older or newer, or is not ours.
    """
    database = Database(address)
    try:
        if create:
            if not _is_set_up(database):
                upgrade(database)
        elif database.path is not None and not database.path.exists():
            raise StoreError(f"there is no database at {database.path}.", hint="nothing has been stored there yet")
        check_version(database)
    except BaseException:
        database.close()
        raise
    return database


def open_store(address: str, *, create: bool = True, writer: WriterConfig | None = None) -> SqlStore:
    """Open a store for writing; what dead processes left unfinished is marked as interrupted.

    Raises: StoreError (exit code 10) if the database cannot be reached or does not fit this program.
    """
    return SqlStore(open_database(address, create=create), writer=writer)


def _is_set_up(database: Database) -> bool:
    is_new_file = database.path is not None and not database.path.exists()
    return not is_new_file and has_tables(database)
