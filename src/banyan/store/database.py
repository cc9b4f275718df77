"""A database by its address: one engine that reads, one that writes, and the settings that make a commit durable."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import QueuePool, StaticPool

from banyan.core.errors import ConfigError, StoreError, missing_extra
from banyan.store.failures import shown_url, store_errors

_BUSY_MILLISECONDS = 5000
_SQLITE_SETTINGS = (
    "PRAGMA synchronous=FULL",  # NORMAL may lose the last commits when the power fails
    "PRAGMA fullfsync=ON",  # the same promise on macOS
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}",
    "PRAGMA secure_delete=ON",
    "PRAGMA trusted_schema=OFF",
)
_POSTGRES_OPTIONS = "-c statement_timeout=5000 -c lock_timeout=2000 -c synchronous_commit=on -c timezone=UTC"


class Database:
    """Connections to one database. Safe to use from many threads at once."""

    def __init__(self, address: str) -> None:
        self.url = parse_address(address)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.is_in_memory = self.is_sqlite and self.url.database in (None, "", ":memory:")
        self._lock: AbstractContextManager[Any] = threading.RLock() if self.is_in_memory else nullcontext()
        self._writer = self._make_engine(writes=True)
        # A database in memory lives in one connection, which readers and the writer must share.
        self._reader = self._writer if self.is_in_memory else self._make_engine(writes=False)

    def __repr__(self) -> str:
        return f"Database({shown_url(self.url)!r})"

    @property
    def path(self) -> Path | None:
        """The file of a SQLite database; None for any other."""
        return Path(self.url.database) if self.is_sqlite and not self.is_in_memory and self.url.database else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database throughout the block and cannot write."""
        with store_errors(self.url, doing="read"), self._lock, self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection whose writes are committed together when the block ends without an error."""
        with store_errors(self.url, doing="write to"), self.transaction() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Do as `write` does, but let the database's own errors through."""
        with self._lock, self._writer.begin() as connection:
            yield connection

    def empty_log(self) -> None:
        """Bring SQLite's log of changes into the file and cut it to nothing; a reader may hold that up for a while."""
        with store_errors(self.url, doing="write to"), self._writer.connect() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None, "a connection that is open has one of its driver"
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of all connections."""
        self._reader.dispose()
        self._writer.dispose()

    def _make_engine(self, *, writes: bool) -> Engine:
        if self.is_sqlite:
            return _sqlite_engine(self.url, writes=writes, in_memory=self.is_in_memory)
        return _postgres_engine(self.url, writes=writes)


def parse_address(address: str) -> URL:
    """Read a database address; a plain path means a SQLite file.

    Raises: ConfigError for what is no address; MissingExtraError if the database's driver is not installed.
    """
    text = address if "://" in address else f"sqlite:///{address}"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:  # the message would repeat the password
        raise ConfigError(
            "the database address cannot be read; use sqlite:///runs/banyan.db or postgresql://user@host/name."
        ) from error.with_traceback(None)
    name = url.get_backend_name()
    if name == "sqlite":
        return url.set(drivername="sqlite")
    if name not in ("postgresql", "postgres"):
        raise ConfigError(f"database address {shown_url(url)!r}: only sqlite:// and postgresql:// are known.")
    if find_spec("psycopg") is None:
        raise missing_extra("psycopg", "postgres", needed_for=f"the database {shown_url(url)}")
    return url.set(drivername="postgresql+psycopg")


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _sqlite_engine(url: URL, *, writes: bool, in_memory: bool) -> Engine:
    engine = create_engine(
        url,
        poolclass=StaticPool if in_memory else QueuePool,
        connect_args={"check_same_thread": False, "timeout": _BUSY_MILLISECONDS / 1000},
        json_serializer=_dumps,
        hide_parameters=True,  # an error's text never shows a row
    )
    begin = "BEGIN IMMEDIATE" if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late to lock and to guard DDL
        _keep_a_log(connection)
        for setting in _SQLITE_SETTINGS:
            connection.execute(setting)
        if not writes:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Let a database write ahead into a log.

    Of two processes that open a new file at once, SQLite refuses one immediately, whatever its timeout: waiting for the
    other could last for ever where both hold a lock. So it is asked again.
    """
    deadline = time.monotonic() + _BUSY_MILLISECONDS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _postgres_engine(url: URL, *, writes: bool) -> Engine:
    options = _POSTGRES_OPTIONS + ("" if writes else " -c default_transaction_read_only=on")
    return create_engine(
        url,
        pool_pre_ping=True,
        isolation_level=None if writes else "REPEATABLE READ",
        connect_args={"connect_timeout": 5, "options": options, "application_name": "banyan"},
        json_serializer=_dumps,
        hide_parameters=True,
    )


def make_parent_folder(database: Database) -> None:
    """Create the folder of a SQLite file.

    Raises: StoreError if that is not possible.
    """
    if database.path is None:
        return
    try:
        database.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create {database.path.parent} for the database: {error.strerror or error}.",
            hint="choose another place with --database",
        ) from error


def make_private_file(path: Path) -> None:
    """Create a file that its owner alone can read: what people asked is nobody else's business on this machine.

    SQLite gives its logs beside it the same rights. One that is there already keeps its own.
    """
    with suppress(OSError):  # whoever opens it next says what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
