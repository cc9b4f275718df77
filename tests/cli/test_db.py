import json
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from banyan.cli.db import app
from banyan.core.errors import ConfigError
from banyan.store.migrate import newest_version
from banyan.store.sql_store import open_database, open_store
from banyan.store.types import StoredAnswer, StoredOutput
from banyan.testing.store import tiny_request


@pytest.fixture
def address(tmp_path: Path) -> str:
    with open_store(str(tmp_path / "a.db")) as store:
        store.record(tiny_request(), StoredAnswer(outputs=(StoredOutput(text="x"),))).result(10)
    return str(tmp_path / "a.db")


def run(address: str, *words: str) -> Result:
    result = CliRunner().invoke(app, [*words, "--database", address], standalone_mode=False)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_an_upgrade_creates_the_tables_and_may_be_repeated(tmp_path: Path) -> None:
    new = str(tmp_path / "new.db")
    first = json.loads(run(new, "upgrade", "--json").stdout)
    assert (first["before"], first["after"]) == (None, newest_version())
    assert "is up to date" in run(new, "upgrade").stdout
    open_database(new).close()


def test_a_sound_database_is_called_sound(address: str) -> None:
    result = json.loads(run(address, "verify", "--json").stdout)
    assert result["sound"] and result["report"]["num_requests"] == 1
    assert "everything is sound" in run(address, "verify").stdout


def test_damage_ends_with_exit_code_10(address: str) -> None:
    database = open_database(address)
    with database.write() as connection:
        connection.execute(text("UPDATE outputs SET text_sha256 = 'x'"))
    database.close()
    result = run(address, "verify")
    assert result.return_value == 10
    assert "sha256 mismatch" in result.stdout


def test_a_backup_can_be_opened(address: str, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "copy.db"
    result = json.loads(run(address, "backup", str(copy), "--json").stdout)
    assert result["bytes"] == copy.stat().st_size
    open_database(str(copy)).close()
    with pytest.raises(ConfigError, match="exists already"):
        run(address, "backup", str(copy))


def test_a_backup_without_a_name_is_named_after_the_time(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(address, "backup", "--quiet")
    assert len(list(tmp_path.glob("banyan-2*.db"))) == 1


def test_a_backup_comes_back_elsewhere(address: str, tmp_path: Path) -> None:
    run(address, "backup", str(tmp_path / "copy.db"))
    again = str(tmp_path / "again.db")
    assert "is restored from" in run(again, "restore", str(tmp_path / "copy.db")).stdout
    assert json.loads(run(again, "verify", "--json").stdout)["report"]["num_requests"] == 1


def test_what_was_kept_long_enough_is_purged_and_noted(address: str) -> None:
    assert json.loads(run(address, "purge", "--content", "1w", "--json").stdout)["purged"]["num_contents"] == 0
    database = open_database(address)
    with database.write() as connection:
        connection.execute(text("UPDATE requests SET received_at = 1"))
    database.close()
    assert "erased the content of 1 requests" in run(address, "purge", "--content", "1w").stdout
    assert json.loads(run(address, "audit", "--json").stdout)["audit"][0]["action"] == "output.erase"
    assert "output.erase" in run(address, "audit").stdout
    for words in ([], ["--content", "soon"], ["--content", "9d", "--facts", "1d"]):
        with pytest.raises(ConfigError):
            run(address, "purge", *words)
