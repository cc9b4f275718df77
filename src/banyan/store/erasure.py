"""Deletes what was asked and answered, so that it is in no table any more; facts and counts stay for the quotas.

SQLite overwrites what it deletes with zeros; `forget` then empties the log of changes beside the file. Copies that were
made before (backups, exports) are not reached from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, or_, select, update

from banyan.store.audit import AuditEntry, append_audit
from banyan.store.database import Database
from banyan.store.schema import (
    ArtifactRow,
    DeadLetterRow,
    FeedbackRow,
    IdempotentAnswerRow,
    OutputArtifactRow,
    OutputRow,
    RequestContentRow,
    RequestRow,
)
from banyan.store.times import utc_microseconds
from banyan.store.types import OPEN_STATES

BATCH_ROWS = 500  # erased in one transaction, so that requests need not wait long for theirs
_FORGOTTEN: Mapping[str, Any] = {"params": {}, "client_request_id": None, "session_id": None, "prompt_sha256": ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class EraseRequests:
    """Delete the content of requests that have ended."""

    request_ids: tuple[str, ...]
    actor: str
    reason: str  # asked, retention
    at: int

    @property
    def num_bytes(self) -> int:
        """The size of its ids."""
        return 256 + 32 * len(self.request_ids)

    def apply(self, connection: Connection) -> int:
        """Delete, note it in the audit log, and return how many requests lost their content."""
        is_open = RequestRow.state.in_([str(state) for state in OPEN_STATES])
        is_left = RequestRow.id.in_(self.request_ids) & RequestRow.erased_at.is_(None) & ~is_open
        ids = list(connection.scalars(select(RequestRow.id).where(is_left)))
        if ids:
            _erase(connection, ids, at=self.at)
            one = ids[0] if len(ids) == 1 else ""
            detail = {"requests": len(ids), "reason": self.reason}
            entry = AuditEntry(actor=self.actor, action="output.erase", object_id=one, detail=detail, at=self.at)
            append_audit(connection, entry)
        return len(ids)

    def payload(self) -> Mapping[str, Any]:
        """Return ids and reason."""
        return asdict(self)


def erase(
    database: Database, condition: ColumnElement[bool], *, actor: str, reason: str, now: int | None = None
) -> int:
    """Delete the content of all requests that fulfil a condition, in batches, and return how many there were."""
    moment = utc_microseconds() if now is None else now
    num_erased = 0
    for ids in _batches(database, condition):
        with database.write() as connection:
            num_erased += EraseRequests(request_ids=ids, actor=actor, reason=reason, at=moment).apply(connection)
    return num_erased


def erase_letters(database: Database, *, api_key_id: str) -> int:
    """Delete the dead letters of a key, whose requests may never have been stored, and return how many there were."""
    with database.write() as connection:
        return connection.execute(
            delete(DeadLetterRow).where(DeadLetterRow.payload.contains(f'"{api_key_id}"'))
        ).rowcount


def forget(database: Database) -> None:
    """Empty SQLite's log of changes, in which deleted pages live on; PostgreSQL cleans up behind itself in time."""
    if database.is_sqlite and not database.is_in_memory:
        database.empty_log()


def _batches(database: Database, condition: ColumnElement[bool]) -> Iterator[tuple[str, ...]]:
    is_open = RequestRow.state.in_([str(state) for state in OPEN_STATES])
    wanted = select(RequestRow.id).where(condition, ~is_open, RequestRow.erased_at.is_(None)).limit(BATCH_ROWS)
    while True:
        with database.read() as connection:
            ids = tuple(connection.scalars(wanted))
        if not ids:
            return
        yield ids


def _erase(connection: Connection, ids: Sequence[str], *, at: int) -> None:
    of_outputs = select(OutputRow.id).where(OutputRow.request_id.in_(ids))
    held = select(OutputArtifactRow.sha256).where(OutputArtifactRow.output_id.in_(of_outputs))
    artifacts = list(connection.scalars(held.distinct()))
    for table in (RequestContentRow, FeedbackRow, IdempotentAnswerRow, OutputRow):
        connection.execute(delete(table).where(table.request_id.in_(ids)))
    is_held = exists().where(OutputArtifactRow.sha256 == ArtifactRow.sha256)
    connection.execute(delete(ArtifactRow).where(ArtifactRow.sha256.in_(artifacts), ~is_held))
    connection.execute(delete(DeadLetterRow).where(or_(*(DeadLetterRow.payload.contains(key) for key in ids))))
    connection.execute(update(RequestRow).where(RequestRow.id.in_(ids)).values({**_FORGOTTEN, "erased_at": at}))
