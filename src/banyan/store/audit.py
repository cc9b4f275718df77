"""Who did what: changes of keys and models, deletions, and reads of what others were answered.

Every row carries a hash over itself and the hash of the row before, so that one which is changed or taken out shows.
No row holds what a user wrote or a model answered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, insert, select, text

from banyan.store.codec import canonical_json
from banyan.store.database import Database
from banyan.store.schema import AuditRow
from banyan.store.times import utc_microseconds

COMMAND_LINE = "cli"  # the actor who may use this machine's database anyway
_POSTGRES_LOCK = 0x6175646974  # any number, the same in every process
_FIRST = "0" * 64  # stands for the hash of the row before the first


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One thing that somebody did."""

    actor: str  # the id of a key, or COMMAND_LINE
    action: str  # key.create, output.erase, …
    object_id: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    at: int = field(default_factory=utc_microseconds)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordAudit:
    """Write an entry behind the last one."""

    entry: AuditEntry

    @property
    def num_bytes(self) -> int:
        """A few words."""
        return 512

    def apply(self, connection: Connection) -> int:
        """Insert the entry and return its number."""
        return append_audit(connection, self.entry)

    def payload(self) -> Mapping[str, Any]:
        """Return the entry."""
        return asdict(self.entry)


def append_audit(connection: Connection, entry: AuditEntry) -> int:
    """Write an entry inside somebody else's transaction and return its number."""
    if connection.dialect.name == "postgresql":  # SQLite lets one transaction write at a time anyway
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    last = connection.execute(
        select(AuditRow.number, AuditRow.sha256).order_by(AuditRow.number.desc()).limit(1)
    ).first()
    number, before = (last.number + 1, last.sha256) if last else (1, _FIRST)
    row = {"number": number, **asdict(entry), "detail": dict(entry.detail)}
    connection.execute(insert(AuditRow).values({**row, "sha256": _hash(row, before)}))
    return number


def list_audit(database: Database, *, limit: int = 50) -> list[tuple[int, AuditEntry]]:
    """Return the newest entries with their numbers, the newest first."""
    statement = select(AuditRow.__table__).order_by(AuditRow.number.desc()).limit(limit)
    with database.read() as connection:
        return [(row.number, _entry(row)) for row in connection.execute(statement)]


def audit_problems(connection: Connection) -> Iterator[str]:
    """Yield what is wrong with the chain: a row that was changed, or a gap where one was."""
    before, expected = _FIRST, 1
    for row in connection.execute(select(AuditRow.__table__).order_by(AuditRow.number)):
        if row.number != expected:
            yield f"audit entries {expected} to {row.number - 1} are missing"
        if row.sha256 != _hash({"number": row.number, **asdict(_entry(row))}, before):
            yield f"audit entry {row.number} is not what was written, or the one before it is not"
        before, expected = row.sha256, row.number + 1


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(actor=row.actor, action=row.action, object_id=row.object_id, detail=row.detail, at=row.at)


def _hash(row: Mapping[str, Any], before: str) -> str:
    return sha256(f"{before}{canonical_json(row)}".encode()).hexdigest()
