"""A backup that is put back is the same store; nothing that is there is ever replaced."""

import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from banyan.core.errors import ConfigError, FileError, StoreError
from banyan.store.backup import backup
from banyan.store.database import Database
from banyan.store.restoring import restore
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import StoredAnswer, StoredOutput
from banyan.store.verify import verify_database
from banyan.testing.store import tiny_request


def test_what_was_backed_up_comes_back(file_store: SqlStore, tmp_path: Path) -> None:
    key = file_store.record(tiny_request(), StoredAnswer(outputs=(StoredOutput(text="kept"),))).result(10)
    backup(file_store.database, tmp_path / "copy.db")
    (tmp_path / "copy.db").chmod(0o400)
    place = tmp_path / "new" / "again.db"
    restore(tmp_path / "copy.db", Database(str(place)))
    place.chmod(0o600)
    with open_store(str(place)) as again:
        assert again.queries.show(key) == file_store.queries.show(key)
        assert verify_database(again.database) == verify_database(file_store.database)
    with pytest.raises(ConfigError, match="exists already"):
        restore(tmp_path / "copy.db", Database(str(place)))


def test_what_is_no_whole_backup_is_not_put_back(file_store: SqlStore, tmp_path: Path) -> None:
    file_store.begin(tiny_request()).result(10)
    backup(file_store.database, tmp_path / "copy.db")
    whole = (tmp_path / "copy.db").read_bytes()
    place = Database(str(tmp_path / "again.db"))
    for content in (
        b"",
        b"no database at all",
        whole[: len(whole) // 2],
        whole[:4096] + os.urandom(4096) + whole[8192:],
    ):
        (tmp_path / "bad.db").write_bytes(content)
        with pytest.raises(StoreError):
            restore(tmp_path / "bad.db", place)
    with pytest.raises(FileError):
        restore(tmp_path / "none.db", place)
    assert not (tmp_path / "again.db").exists()


@pytest.mark.skipif(not os.environ.get("BANYAN_TEST_POSTGRES"), reason="BANYAN_TEST_POSTGRES is not set")
@pytest.mark.skipif(not shutil.which("pg_restore"), reason="no pg_dump and pg_restore here")
@pytest.mark.parametrize("address", ["postgres"], indirect=True)
def test_a_postgres_comes_back_from_its_dump(address: str, tmp_path: Path) -> None:
    with open_store(address) as store:
        key = store.record(tiny_request(), StoredAnswer(outputs=(StoredOutput(text="kept"),))).result(10)
        before = store.queries.show(key)
        backup(store.database, tmp_path / "copy.dump")
        with pytest.raises(ConfigError, match="exists already"):
            restore(tmp_path / "copy.dump", store.database)
    database = Database(address)
    with database.write() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    restore(tmp_path / "copy.dump", database)
    database.close()
    with open_store(address) as again:
        assert again.queries.show(key) == before
