"""Gives dead letters to the database again: those it takes now are gone, those it still refuses stay.

A write and the end of its letter are one transaction, so that whatever happens in between, nothing is stored twice or
lost. Nothing that was stored since is undone: who was told that a request failed was told the truth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update

from banyan.core.errors import BanyanError, InputError, StoreError
from banyan.store.audit import COMMAND_LINE, AuditEntry, append_audit
from banyan.store.database import Database
from banyan.store.dead_letters import reason_of
from banyan.store.failures import as_store_error, is_outage
from banyan.store.letter_contents import write_of
from banyan.store.operations import (
    AddFeedback,
    AddModel,
    BeginRequest,
    FinishRequest,
    NoteProgress,
    RecordExchange,
    replace_outputs,
)
from banyan.store.rows import PutRow, Together, WriteOperation, insert_if_absent
from banyan.store.schema import DeadLetterRow, FeedbackRow, IdempotentAnswerRow, ModelRow, OutputRow, RequestRow
from banyan.store.sql_store import SqlStore
from banyan.store.types import OPEN_STATES, RequestState, StoredAnswer, StoredOutput

STORED = "stored"
KNOWN = "nothing was missing"  # it is there already, or was erased since
_MIN_ID_CHARACTERS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """A write that the database refused."""

    letter_id: str
    at: int
    source: str  # which operation
    error: str
    payload: str = field(repr=False)  # JSON

    @property
    def request_id(self) -> str | None:
        """The request it is about, if it is about one."""
        return _request_id(self.payload)


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """What became of one letter."""

    letter: DeadLetter
    is_gone: bool
    said: str  # what was done with it, or why it stays


class StillRefusedError(StoreError):
    """A dead letter that cannot be stored now."""


def list_dead_letters(database: Database, *, limit: int | None = None) -> list[DeadLetter]:
    """Return the dead letters, the newest first."""
    columns = DeadLetterRow.__table__.c
    with database.read() as connection:
        newest = _letters().order_by(columns.at.desc(), columns.id.desc()).limit(limit)
        return [DeadLetter(**row._mapping) for row in connection.execute(newest)]


def replay_dead_letters(store: SqlStore, ids: Sequence[str] = ()) -> Iterator[Replayed]:
    """Give letters to the database again, the oldest first, and yield what became of each.

    `ids` are the first characters of those that are meant; without any, all are. Each has a transaction of its own.
    Raises: InputError for an id that no letter has, or several, before anything is done; StoreError if the database is
    not in order, and what was yielded by then counts.
    """
    table = DeadLetterRow
    with store.database.read() as connection:
        meant = [_find(connection, given) for given in ids]
        wanted = select(table.id).where(table.id.in_(meant)) if ids else select(table.id)
        keys = list(connection.scalars(wanted.order_by(table.at, table.id)))
    for key in keys:
        with store.database.read() as connection:
            row = connection.execute(_letters().where(table.id == key)).first()
        if row is not None:  # else somebody else was faster
            yield _replayed(store, DeadLetter(**row._mapping))


def _letters() -> Select[Any]:
    columns = DeadLetterRow.__table__.c
    return select(columns.id.label("letter_id"), columns.at, columns.source, columns.error, columns.payload)


def _replayed(store: SqlStore, letter: DeadLetter) -> Replayed:
    try:
        return Replayed(letter=letter, is_gone=True, said=_replay(store, letter))
    except Exception as error:
        if is_outage(error):
            raise as_store_error(error, store.database.url, doing="write to") from error
        reason = error.message if isinstance(error, BanyanError) else reason_of(error)
        return Replayed(letter=letter, is_gone=False, said=reason)


def _replay(store: SqlStore, letter: DeadLetter) -> str:
    write = write_of(letter.source, letter.payload, instance_id=store.instance_id)
    with store.database.transaction() as connection:
        # First, so that of two who replay at once the second waits, and then finds it gone.
        if not connection.execute(delete(DeadLetterRow).where(DeadLetterRow.id == letter.letter_id)).rowcount:
            return KNOWN
        said = _write(connection, write, at=letter.at)
        if said == STORED:
            detail = {"letter": letter.letter_id, "operation": letter.source}
            entry = AuditEntry(
                actor=COMMAND_LINE, action="dead_letter.replay", object_id=letter.request_id or "", detail=detail
            )
            append_audit(connection, entry)
        return said


def _write(connection: Connection, write: WriteOperation, *, at: int) -> str:
    """Apply a write as it makes sense today, and say what that came to.

    Raises: BanyanError or a database's own error if it cannot be stored.
    """
    match write:
        case BeginRequest():
            return _begin(connection, write, at=at)
        case FinishRequest():
            return _finish(connection, write.request_id, write.answer)
        case RecordExchange():
            if _facts(connection, write.begin.request.request_id) is not None:
                return _finish(connection, write.finish.request_id, write.finish.answer)
        case NoteProgress():
            partial = (StoredOutput(text=write.text, finish_reason=None),) if write.text else ()
            answer = StoredAnswer(state=RequestState.INTERRUPTED, outputs=partial, finished_at=write.at)
            return _finish(connection, write.request_id, answer)
        case AddFeedback() if _is_there(connection, FeedbackRow, write.feedback.feedback_id):
            return KNOWN
        case AddModel() if write.tasks is None and _is_there(connection, ModelRow, write.key):
            return KNOWN
        case PutRow():
            return _put(connection, write)
        case Together():
            return _write_together(connection, write, at=at)
    write.apply(connection)
    return STORED


def _begin(connection: Connection, write: BeginRequest, *, at: int) -> str:
    """Store a request as it ended for its client: nothing was worked out, for it could not be stored."""
    request_id = write.request.request_id
    if _facts(connection, request_id) is not None:
        return KNOWN
    write.apply(connection)
    end = StoredAnswer(state=RequestState.FAILED, http_status=503, error_code="storage_unavailable", finished_at=at)
    FinishRequest(request_id=request_id, answer=end).apply(connection)
    return STORED


def _finish(connection: Connection, request_id: str, answer: StoredAnswer) -> str:
    """Add what was answered to a request whose end could not be stored with it.

    Its state stays: its client never got this answer whole, for that waits for the commit.
    """
    facts = _facts(connection, request_id)
    if facts is None:
        raise StillRefusedError(f"there is no stored request {request_id!r}.")
    if facts.state in OPEN_STATES:
        raise StillRefusedError(f"request {request_id} is still being answered; try again when it has ended.")
    has_outputs = connection.scalar(select(OutputRow.id).where(OutputRow.request_id == request_id).limit(1)) is not None
    is_whole = answer.state is RequestState.COMPLETED and facts.state != RequestState.COMPLETED
    if facts.erased_at is not None or not answer.outputs or (has_outputs and not is_whole):
        return KNOWN
    replace_outputs(connection, request_id, answer)
    counts = {name: getattr(answer, name) for name in ("num_completion_tokens", "num_cached_tokens")}
    if is_whole:
        connection.execute(update(RequestRow).where(RequestRow.id == request_id).values(counts))
    return STORED


def _put(connection: Connection, write: PutRow) -> str:
    """Insert a row where there is none."""
    if write.table is IdempotentAnswerRow:  # nobody was given this answer, so nobody may be given it again
        return KNOWN
    if not insert_if_absent(connection, write.table, write.values):
        raise StillRefusedError(
            f"{write.table.__tablename__} has a row in its place, and nobody knows which of the two is newer."
        )
    return STORED


def _write_together(connection: Connection, write: Together, *, at: int) -> str:
    said = [_write(connection, each, at=at) for each in write.operations]
    return STORED if STORED in said else KNOWN


def _facts(connection: Connection, request_id: str) -> Any:
    columns = RequestRow.__table__.c
    return connection.execute(select(columns.state, columns.erased_at).where(columns.id == request_id)).first()


def _is_there(connection: Connection, table: type[FeedbackRow] | type[ModelRow], key: str) -> bool:
    return connection.scalar(select(table.id).where(table.id == key)) is not None


def _find(connection: Connection, given: str) -> str:
    is_usable = given.isascii() and given.isalnum() and len(given) >= _MIN_ID_CHARACTERS
    begins_so = DeadLetterRow.id.startswith(given.upper())
    found = list(connection.scalars(select(DeadLetterRow.id).where(begins_so).limit(2))) if is_usable else []
    if not found:
        raise InputError(f"there is no dead letter {given!r}.", hint="banyan db dead-letters list shows all")
    if len(found) > 1:
        raise InputError(f"several dead letters begin with {given!r}.", hint="give more of the id")
    return found[0]


def _request_id(payload: str) -> str | None:
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    whole = [part.get("payload", part) for part in content.get("together", ()) if isinstance(part, dict)]
    parts = [content, content.get("request"), *whole]
    found = (part.get("request_id") for part in parts if isinstance(part, dict))
    return next((each for each in found if isinstance(each, str)), None)
