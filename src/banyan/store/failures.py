"""Turns what databases say into our one-line errors; a password is never part of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from banyan.core.errors import StoreError

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_WORDS: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: ("it is locked by another process", "wait for the other process, or stop it"),
    sqlite3.SQLITE_LOCKED: ("it is locked by another process", "wait for the other process, or stop it"),
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; what was stored before is still there"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "look at the disk; what was stored before may still be whole"),
    sqlite3.SQLITE_READONLY: ("it is read-only", "choose a file you may write to with --database"),
    sqlite3.SQLITE_PERM: ("access is refused", "choose a file you may write to with --database"),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "check the path and your right to write there"),
    sqlite3.SQLITE_NOTADB: ("it is not a database file", "choose another file with --database"),
    sqlite3.SQLITE_CORRUPT: ("the file is damaged", "restore a backup (banyan db backup makes them)"),
}


_POSTGRES_BUSY = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
_POSTGRES_ROW_LIMITS = "54"  # program limit exceeded, for example a value too long for its index
_CONNECTION_ERRORS = (OperationalError, InterfaceError)


class RefusedRowError(StoreError):
    """A row that the database will not take, however often it is tried; it is kept among the dead letters."""


class UncertainWriteError(StoreError):
    """A write that was cut off from the database as it was committed: it is there, or it is not."""


def shown_url(url: URL) -> str:
    """Write a database's address for people, without the password and without its options."""
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)


def sqlite_code(error: BaseException) -> int | None:
    """Return SQLite's primary result code of an error, if it has one."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def is_worth_retrying(error: DBAPIError) -> bool:
    """Whether the same write may succeed at once or soon: another writer held the lock, or the connection was cut."""
    if sqlite_code(error) in _BUSY:
        return True
    state = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or state in _POSTGRES_BUSY


def is_outage(error: BaseException) -> bool:
    """Whether an error is about the database as a whole rather than the row that met it."""
    code = sqlite_code(error)
    if code is not None:
        return code in _SQLITE_WORDS
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        is_about_the_row = state.startswith(_POSTGRES_ROW_LIMITS)
        return error.connection_invalidated or isinstance(error, _CONNECTION_ERRORS) and not is_about_the_row
    return isinstance(error, PoolTimeoutError | DisconnectionError)


def as_store_error(error: BaseException, url: URL, *, doing: str) -> StoreError:
    """Return our error for a database's."""
    words, hint = _SQLITE_WORDS.get(sqlite_code(error) or 0, (None, None))
    if words:
        return StoreError(f"cannot {doing} {shown_url(url)}: {words}.", hint=hint)
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    reason = _without_password(" ".join(str(original).split()) or type(original).__name__, url)
    hint = "check that the server runs and that the address, user and password are right" if url.host else None
    return StoreError(f"cannot {doing} {shown_url(url)}: {reason.rstrip('.')}.", hint=hint)


def _without_password(text: str, url: URL) -> str:
    secrets = [url.password, url.query.get("password")]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text


@contextmanager
def store_errors(url: URL, *, doing: str) -> Iterator[None]:
    """Turn database errors raised inside the block into StoreError."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        if isinstance(error, StoreError):
            raise
        raise as_store_error(error, url, doing=doing) from error
