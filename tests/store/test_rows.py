import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from banyan.store.database import Database
from banyan.store.rows import insert_if_absent, insert_row
from banyan.store.schema import ModelRow
from banyan.store.sql_store import SqlStore

BARE = {"id": "b", "name": "bare", "sha256": "", "created_at": 2}
FULL = {"id": "a", "name": "full", "sha256": "", "created_at": 1, "num_parameters": 7, "tasks": ["x"]}


def models(database: Database) -> dict[str, tuple[int | None, int]]:
    table = ModelRow.__table__.c
    with database.read() as connection:
        rows = connection.execute(select(table.id, table.num_parameters, table.created_at)).all()
    return {key: (num_parameters, created_at) for key, num_parameters, created_at in rows}


def test_nothing_of_one_row_gets_into_the_next_that_leaves_it_out(store: SqlStore) -> None:
    with store.database.write() as connection:
        assert insert_if_absent(connection, ModelRow, FULL)
        assert insert_if_absent(connection, ModelRow, BARE)
        insert_row(connection, ModelRow, {**FULL, "id": "c", "name": "third"})
        insert_row(connection, ModelRow, {**BARE, "id": "d", "name": "fourth"})
    assert models(store.database) == {"a": (7, 1), "b": (None, 2), "c": (7, 1), "d": (None, 2)}


def test_a_row_that_is_there_stays_as_it_is_and_is_counted_as_not_inserted(store: SqlStore) -> None:
    with store.database.write() as connection:
        assert insert_if_absent(connection, ModelRow, FULL)
        assert not insert_if_absent(connection, ModelRow, {**FULL, "created_at": 9})
    assert models(store.database) == {"a": (7, 1)}


def test_a_plain_insert_of_a_row_that_is_there_is_refused(store: SqlStore) -> None:
    with store.database.write() as connection:
        insert_row(connection, ModelRow, FULL)
    with pytest.raises(IntegrityError), store.database.transaction() as connection:
        insert_row(connection, ModelRow, FULL)
    assert models(store.database) == {"a": (7, 1)}
