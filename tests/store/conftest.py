"""One store per test; tests that ask for `store` run on a SQLite file, in memory, and on PostgreSQL where there is one.

Set BANYAN_TEST_POSTGRES to the address of an empty database whose name contains "test"; its tables are dropped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from banyan.store.database import Database
from banyan.store.sql_store import SqlStore, open_store

KINDS = ["file", "memory", "postgres"]


def emptied_postgres() -> str:
    address = os.environ.get("BANYAN_TEST_POSTGRES")
    if not address:
        pytest.skip("BANYAN_TEST_POSTGRES is not set: no PostgreSQL to test on")
    database = Database(address)
    assert "test" in (database.url.database or "")
    with database.write() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    database.close()
    return address


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return emptied_postgres()
    return "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'banyan.db'}"


@pytest.fixture
def store(address: str) -> Iterator[SqlStore]:
    with open_store(address) as opened:
        yield opened


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[SqlStore]:
    with open_store(str(tmp_path / "banyan.db")) as opened:
        yield opened
