"""The audit log is a chain: what is changed or taken out shows."""

import pytest
from sqlalchemy import text

from banyan.store.audit import AuditEntry, RecordAudit, list_audit
from banyan.store.sql_store import SqlStore
from banyan.store.verify import verify_database


def fill(store: SqlStore) -> list[AuditEntry]:
    entries = [AuditEntry(actor="cli", action="key.create", object_id=name, detail={"n": 1}) for name in "abc"]
    for entry in entries:
        store.submit(RecordAudit(entry=entry)).result(10)
    return entries


def test_entries_are_numbered_in_order(store: SqlStore) -> None:
    entries = fill(store)
    assert list_audit(store.database, limit=2) == [(3, entries[2]), (2, entries[1])]
    assert verify_database(store.database).is_sound


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("UPDATE audit_log SET actor = 'me' WHERE number = 2", "audit entry 2 is not what was written"),
        ("DELETE FROM audit_log WHERE number = 2", "audit entries 2 to 2 are missing"),
    ],
)
def test_a_change_and_a_gap_are_found(file_store: SqlStore, damage: str, problem: str) -> None:
    fill(file_store)
    with file_store.database.write() as connection:
        connection.execute(text(damage))
    assert any(problem in found for found in verify_database(file_store.database).problems)
