"""How long things are kept: contents, then the facts of requests; nothing is deleted unless somebody says when.

Everything goes in small transactions, so that a server can work on beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.orm import InstrumentedAttribute

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.store.audit import COMMAND_LINE, AuditEntry, append_audit
from banyan.store.database import Database
from banyan.store.erasure import BATCH_ROWS, erase, forget
from banyan.store.schema import DeadLetterRow, IdempotentAnswerRow, RequestRow
from banyan.store.times import MICROSECONDS
from banyan.store.types import OPEN_STATES

_IDEMPOTENT_SECONDS = 86_400  # a client that asks again does so within a day


@config
class RetentionPolicy:
    """How long things are kept, in seconds; None: for ever."""

    content_seconds: int | None = None  # what was asked and answered, feedback, refused writes
    facts_seconds: int | None = None  # the rest of a request: times, counts, model, outcome

    def __post_init__(self) -> None:
        for name in ("content_seconds", "facts_seconds"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value} keeps nothing; it must be at least 1.")
        if self.facts_seconds is not None and (self.content_seconds or self.facts_seconds) > self.facts_seconds:
            raise ConfigError(
                f"content is kept for {self.content_seconds} s, its request only for {self.facts_seconds} s; "
                "facts must be kept at least as long as content."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Purged:
    """How much was deleted."""

    num_contents: int
    num_requests: int
    num_others: int  # refused writes, and answers kept for a second asking

    def __bool__(self) -> bool:
        return bool(self.num_contents or self.num_requests or self.num_others)


def purge(database: Database, policy: RetentionPolicy, *, now: int, actor: str = COMMAND_LINE) -> Purged:
    """Delete what has been kept long enough, and say how much that was."""
    content = now - (policy.content_seconds or policy.facts_seconds or 0) * MICROSECONDS
    num_contents = num_requests = num_others = 0
    if policy.content_seconds or policy.facts_seconds:
        num_contents = erase(database, RequestRow.received_at < content, actor=actor, reason="retention", now=now)
        num_others += _delete_older(database, DeadLetterRow.id, DeadLetterRow.at, content)
    if policy.facts_seconds:
        facts = now - policy.facts_seconds * MICROSECONDS
        num_requests = _delete_older(database, RequestRow.id, RequestRow.received_at, facts)
    num_others += _forget_idempotent(database, now - _IDEMPOTENT_SECONDS * MICROSECONDS)
    purged = Purged(num_contents=num_contents, num_requests=num_requests, num_others=num_others)
    if num_requests:
        detail = {"requests": num_requests, "reason": "retention"}
        with database.write() as connection:
            append_audit(connection, AuditEntry(actor=actor, action="request.delete", detail=detail, at=now))
    if purged:
        forget(database)
    return purged


def _delete_older(
    database: Database, key: InstrumentedAttribute[str], at: InstrumentedAttribute[int], before: int
) -> int:
    return sum(_delete_batches(database, key, at, before))


def _delete_batches(
    database: Database, key: InstrumentedAttribute[str], at: InstrumentedAttribute[int], before: int
) -> Iterator[int]:
    """Delete old rows; a request that still runs stays, however old it is."""
    table = key.class_
    wanted = select(key).where(at < before).limit(BATCH_ROWS)
    if table is RequestRow:
        wanted = wanted.where(RequestRow.state.not_in([str(state) for state in OPEN_STATES]))
    while True:
        with database.write() as connection:
            ids = list(connection.scalars(wanted))
            if not ids:
                return
            connection.execute(delete(table).where(key.in_(ids)))
        yield len(ids)


def _forget_idempotent(database: Database, before: int) -> int:
    with database.write() as connection:
        done: CursorResult[tuple[()]] = connection.execute(
            delete(IdempotentAnswerRow).where(IdempotentAnswerRow.created_at < before)
        )
        return done.rowcount
