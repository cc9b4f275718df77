import sqlite3

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from banyan.store.failures import as_store_error, is_outage, shown_url

SQLITE = make_url("sqlite:///runs/a.db")
SERVER = make_url("postgresql://app:geheim@host/db?password=geheim2")


def sqlite_error(code: int) -> OperationalError:
    original = sqlite3.OperationalError("some words")
    original.sqlite_errorcode = code
    return OperationalError("SELECT 1", {}, original)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_FULL, "the disk is full"),
        (sqlite3.SQLITE_BUSY, "locked by another process"),
        (sqlite3.SQLITE_BUSY | 0x200, "locked by another process"),  # an extended code of the same kind
        (sqlite3.SQLITE_NOTADB, "not a database file"),
        (sqlite3.SQLITE_CORRUPT, "damaged"),
        (sqlite3.SQLITE_READONLY, "read-only"),
        (sqlite3.SQLITE_CANTOPEN, "cannot be opened"),
    ],
)
def test_an_outage_is_told_in_plain_words_with_a_next_step(code: int, words: str) -> None:
    error = as_store_error(sqlite_error(code), SQLITE, doing="write to")
    assert is_outage(sqlite_error(code))
    assert str(error).startswith("cannot write to sqlite:///runs/a.db: ") and words in str(error) and error.hint


def test_a_password_is_hidden_wherever_it_stands() -> None:
    said = OperationalError("x", {}, Exception("auth failed for app with geheim, or was it geheim2?"))
    assert "geheim" not in shown_url(SERVER)
    assert "geheim" not in str(as_store_error(said, SERVER, doing="read"))


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("x", {}, sqlite3.IntegrityError("CHECK failed")),
        DBAPIError("x", {}, sqlite3.DataError("too big")),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"),
        OverflowError("int too large"),
    ],
)
def test_a_bad_row_is_not_an_outage(error: Exception) -> None:
    assert not is_outage(error)
