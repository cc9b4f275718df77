from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from banyan.core.errors import StoreError
from banyan.store.database import Database
from banyan.store.migrate import _config, check_version, newest_version, schema_version, upgrade
from banyan.store.run_schema import RunRow
from banyan.store.schema import Base
from banyan.store.sql_store import open_database, open_store
from banyan.store.types import StoredAnswer, StoredFeedback, StoredOutput
from banyan.testing.store import tiny_request

assert RunRow.metadata is Base.metadata  # the tables of runs are part of what is compared


def move(database: Database, version: str) -> None:
    with database.write() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, version) if version > "0001" else command.downgrade(config, version)


def test_the_migrations_make_exactly_the_tables_of_the_schema(address: str) -> None:
    database = Database(address)
    upgrade(database)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        found = {
            (table, item["name"])
            for table in inspect(connection).get_table_names()
            for item in (*inspect(connection).get_check_constraints(table), *inspect(connection).get_indexes(table))
        }
    named = {
        (table.name, str(item.name))
        for table in Base.metadata.tables.values()
        for item in (*table.constraints, *table.indexes)
        if type(item).__name__ in ("CheckConstraint", "Index")
    }
    assert named == {(table, name) for table, name in found if str(name).startswith(("ck_", "ix_"))}
    database.close()


def test_requests_survive_the_way_down_and_up_again(address: str) -> None:
    if address == "sqlite://":
        pytest.skip("a database in memory cannot be opened twice")
    request = tiny_request()
    with open_store(address) as store:
        store.begin(request).result(10)
    database = Database(address)
    move(database, "0001")
    assert upgrade(database) == ("0001", newest_version())
    database.close()
    with open_store(address) as store:
        assert store.queries.show(request.request_id).request == request


def test_of_what_was_said_before_nobody_knows_about_which_answer(address: str) -> None:
    if address == "sqlite://":
        pytest.skip("a database in memory cannot be opened twice")
    with open_store(address) as store:
        key = store.record(tiny_request(), StoredAnswer(outputs=(StoredOutput(text="x"),))).result(10)
        given = StoredFeedback(request_id=key, correction="y", choice_index=0)
        store.add_feedback(given).result(10)
    database = Database(address)
    with database.write() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
    assert upgrade(database) == ("0004", newest_version())
    database.close()
    with open_store(address) as store:
        assert store.queries.show(key).feedback == (replace(given, choice_index=None),)


def test_an_older_database_is_refused_with_the_way_out(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "a.db"))
    upgrade(database)
    move(database, "0001")
    database.close()
    with pytest.raises(StoreError, match=f"schema is at 0001, code needs {newest_version()}") as caught:
        open_store(str(tmp_path / "a.db"))
    assert caught.value.exit_code == 10 and "banyan db upgrade" in (caught.value.hint or "")


def test_a_newer_database_is_refused_by_all(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "a.db"))
    upgrade(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for open_it in (check_version, upgrade):
        with pytest.raises(StoreError, match="schema 9999 is newer than this program"):
            open_it(database)
    database.close()


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "a.db"))
    with database.write() as connection:
        connection.execute(text("CREATE TABLE recipes (title TEXT)"))
    with pytest.raises(StoreError, match="not a Banyan database: it already holds the table 'recipes'"):
        open_store(str(tmp_path / "a.db"))
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["recipes"]
    database.close()


def test_an_empty_file_is_set_up_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    with pytest.raises(StoreError, match="holds no tables yet"):
        open_database(str(tmp_path / "a.db"))
    open_store(str(tmp_path / "a.db")).close()


def test_upgrading_twice_changes_nothing(address: str) -> None:
    database = Database(address)
    assert upgrade(database) == (None, newest_version())
    assert upgrade(database) == (newest_version(), newest_version())
    database.close()


def test_two_processes_may_set_up_the_same_database_at_once(address: str) -> None:
    if address == "sqlite://":
        pytest.skip("a database in memory belongs to one process")

    def set_up(_: int) -> str | None:
        database = Database(address)
        upgrade(database)
        with database.read() as connection:
            version = schema_version(connection)
        database.close()
        return version

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(set_up, range(4))) == {newest_version()}


def test_a_migration_that_breaks_leaves_the_old_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(str(tmp_path / "a.db"))
    original = command.upgrade

    def broken(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        raise RuntimeError("power cut")

    monkeypatch.setattr(command, "upgrade", broken)
    with pytest.raises(RuntimeError):
        upgrade(database)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == []
    database.close()
