"""One store per test; tests that ask for `store` run on a SQLite file, in memory, and on PostgreSQL where there is one.

Set BANYAN_TEST_POSTGRES to the address of an empty database whose name contains "test"; its tables are dropped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from banyan.store.database import Database
from banyan.store.migrate import upgrade
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
    """Where a database may be made."""
    if request.param == "postgres":
        return emptied_postgres()
    return "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'banyan.db'}"


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied: migrating one takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "banyan.db"
    database = Database(str(path))
    upgrade(database)
    database.close()
    return path


@pytest.fixture
def store(address: str, empty_file: Path) -> Iterator[SqlStore]:
    """A store on each kind of database in turn."""
    if address.startswith("sqlite:///"):
        shutil.copy(empty_file, address.removeprefix("sqlite:///"))
    with open_store(address) as opened:
        yield opened


@pytest.fixture
def file_store(tmp_path: Path, empty_file: Path) -> Iterator[SqlStore]:
    """A store in a SQLite file."""
    shutil.copy(empty_file, tmp_path / "banyan.db")
    with open_store(str(tmp_path / "banyan.db")) as opened:
        yield opened
