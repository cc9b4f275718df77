import os
import shutil
import subprocess
from pathlib import Path

import pytest

from banyan.core.errors import ConfigError, SpaceError, StoreError
from banyan.store import backup as backup_module
from banyan.store.backup import backup
from banyan.store.database import Database
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import StoredAnswer, StoredOutput
from banyan.testing.store import tiny_request


def test_a_backup_holds_what_was_committed_while_the_server_goes_on(file_store: SqlStore, tmp_path: Path) -> None:
    key = file_store.record(tiny_request(), StoredAnswer(outputs=(StoredOutput(text="kept"),))).result(10)
    target = tmp_path / "copies" / "copy.db"
    assert backup(file_store.database, target) == target.stat().st_size
    file_store.begin(tiny_request()).result(10)
    assert sorted(path.name for path in target.parent.iterdir()) == ["copy.db"]
    with open_store(str(target)) as copy:
        assert copy.queries.counts().num_requests == 1
        assert copy.queries.show(key) == file_store.queries.show(key)


def test_a_backup_never_replaces_a_file(file_store: SqlStore, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(ConfigError, match="exists already"):
        backup(file_store.database, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_a_database_in_memory_has_no_backup(tmp_path: Path) -> None:
    with open_store("sqlite://") as store, pytest.raises(ConfigError, match="in memory"):
        backup(store.database, tmp_path / "copy.db")


def test_a_missing_database_has_no_backup(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        backup(Database(str(tmp_path / "none.db")), tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_reported(file_store: SqlStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SpaceError, match="cannot write"):
        backup(file_store.database, tmp_path / "file" / "copy.db")


def test_a_failed_backup_leaves_nothing(file_store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(database: Database, target: Path) -> None:
        target.write_text("half")
        raise StoreError("the disk broke.")

    monkeypatch.setattr(backup_module, "_copy_sqlite", fail)
    with pytest.raises(StoreError, match="the disk broke"):
        backup(file_store.database, tmp_path / "copies" / "copy.db")
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.skipif(not os.environ.get("BANYAN_TEST_POSTGRES"), reason="BANYAN_TEST_POSTGRES is not set")
@pytest.mark.skipif(not shutil.which("pg_restore"), reason="no pg_dump and pg_restore here")
def test_a_postgres_backup_can_be_listed_by_pg_restore(tmp_path: Path) -> None:
    with open_store(os.environ["BANYAN_TEST_POSTGRES"]) as store:
        backup(store.database, tmp_path / "copy.dump")
    listed = subprocess.run(
        ["pg_restore", "--list", tmp_path / "copy.dump"], capture_output=True, text=True, check=True
    )
    assert "TABLE DATA public requests" in listed.stdout
