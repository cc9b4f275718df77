import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from banyan.core.errors import ConfigError, MissingExtraError, StoreError
from banyan.store import database as database_module
from banyan.store.backup import backup
from banyan.store.database import Database, parse_address
from banyan.store.restoring import restore
from banyan.store.sql_store import SqlStore, open_database, open_store
from banyan.testing.store import tiny_request


@pytest.mark.parametrize(
    ("setting", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000), ("secure_delete", 1)],
)
def test_a_sqlite_file_is_set_up_for_durable_commits(file_store: SqlStore, setting: str, value: object) -> None:
    for connect in (file_store.database.read, file_store.database.write):
        with connect() as connection:
            assert connection.execute(text(f"PRAGMA {setting}")).scalar() == value


@pytest.mark.skipif(not os.environ.get("BANYAN_TEST_POSTGRES"), reason="BANYAN_TEST_POSTGRES is not set")
def test_postgres_confirms_a_commit_only_when_it_is_durable() -> None:
    database = Database(os.environ["BANYAN_TEST_POSTGRES"])
    with database.write() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "5s"
    database.close()


def test_a_reader_cannot_write(address: str) -> None:
    if address == "sqlite://":
        pytest.skip("in memory there is one connection for both")
    with open_store(address) as store, pytest.raises(StoreError), store.database.read() as connection:
        connection.execute(text("DELETE FROM requests"))


def test_a_writer_locks_from_its_first_word(file_store: SqlStore) -> None:
    path = file_store.database.path
    assert path is not None
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    with file_store.database.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()


def test_an_unfinished_block_leaves_nothing_behind(store: SqlStore) -> None:
    with pytest.raises(RuntimeError), store.database.write() as connection:
        connection.execute(text("DELETE FROM server_instances"))
        raise RuntimeError
    with store.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM server_instances")).scalar() == 1


def test_a_plain_path_is_a_sqlite_file(tmp_path: Path) -> None:
    open_store(str(tmp_path / "new" / "folder" / "a.db")).close()
    assert (tmp_path / "new" / "folder" / "a.db").is_file()


@pytest.mark.parametrize("address", ["mysql://me:geheim@host/db", "http://geheim", "postgresql://u:geheim@h:port/x"])
def test_an_unusable_address_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(address)
    assert "me:geheim" not in str(caught.value) and "u:geheim" not in str(caught.value)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="psycopg") as caught:
        Database("postgresql://u:geheim@h/x")
    assert caught.value.hint == 'pip install "banyan-gpt[postgres]"'
    assert "geheim" not in str(caught.value)


@pytest.mark.skipif("psycopg" not in sys.modules and not database_module.find_spec("psycopg"), reason="no psycopg here")
@pytest.mark.parametrize(
    "address", ["postgresql://u:geheim@127.0.0.1:1/x", "postgres://u@127.0.0.1:1/x?password=geheim"]
)
def test_an_unreachable_server_is_one_line_without_the_password(address: str) -> None:
    with pytest.raises(StoreError, match="cannot read postgresql") as caught:
        open_store(address)
    assert caught.value.exit_code == 10 and caught.value.hint
    assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_text_file_is_not_a_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but rather long " * 100)
    with pytest.raises(StoreError, match="is not a database file|not a database file") as caught:
        open_store(str(tmp_path / "notes.txt"))
    assert caught.value.hint


def test_a_folder_is_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(str(tmp_path))


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    open_store(str(tmp_path / "a.db")).close()
    whole = (tmp_path / "a.db").read_bytes()
    (tmp_path / "a.db").write_bytes(whole[:5000] + b"\xff" * (len(whole) - 5000))
    with pytest.raises(StoreError, match="damaged|not a database"):
        open_database(str(tmp_path / "a.db"))


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot create"):
        open_store(str(tmp_path / "file" / "a.db"))


def test_a_new_database_its_logs_its_backup_and_what_is_restored_are_for_their_owner_alone(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "own" / "a.db")) as store:
        store.begin(tiny_request()).result(10)
        backup(store.database, tmp_path / "own" / "b.db")
        restored = Database(str(tmp_path / "own" / "c.db"))
        restore(tmp_path / "own" / "b.db", restored)
        restored.close()
        rights = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "own").iterdir()}
    assert {"a.db", "a.db-wal", "a.db-shm", "b.db", "c.db"} <= set(rights)
    assert set(rights.values()) == {0o600}


def test_a_file_that_is_there_already_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    (tmp_path / "a.db").chmod(0o640)
    with open_store(str(tmp_path / "a.db")):
        assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o640
