"""While a server runs, what is due goes; a database that is away does not end that."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import text

from banyan.serve.retention_loop import keeping, purge_once
from banyan.store.retention import RetentionPolicy
from banyan.store.sql_store import open_store
from banyan.store.types import StoredAnswer, StoredOutput
from banyan.testing.store import tiny_request


def test_what_becomes_due_goes_while_the_server_runs(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "a.db")) as store:
        policy = RetentionPolicy(content_seconds=3_600)
        with keeping(store.database, policy, pause_seconds=0.02):
            store.record(tiny_request(received_at=1), StoredAnswer(outputs=(StoredOutput(text="old"),))).result(10)
            young = store.record(tiny_request(), StoredAnswer(outputs=(StoredOutput(text="young"),))).result(10)
            deadline = time.monotonic() + 20
            while len(store.queries.newest()) > 1 and time.monotonic() < deadline:
                time.sleep(0.02)
        assert [each.request.request_id for each in store.queries.newest()] == [young]


def test_a_broken_database_is_asked_again_later(tmp_path: Path) -> None:
    with open_store(str(tmp_path / "a.db")) as store:
        with store.database.write() as connection:
            connection.execute(text("ALTER TABLE idempotent_answers RENAME TO gone"))
        purge_once(store.database, RetentionPolicy(content_seconds=1))
