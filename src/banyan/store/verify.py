"""Checks that a store is what it promises to be: whole, consistent, every hash right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, exists, func, or_, select, text

from banyan.core.errors import StoreError
from banyan.store.audit import audit_problems
from banyan.store.codec import unpack_json, unpack_text
from banyan.store.database import Database
from banyan.store.key_types import StoreMode
from banyan.store.schema import (
    ArtifactRow,
    DeadLetterRow,
    FeedbackRow,
    OutputArtifactRow,
    OutputRow,
    RequestContentRow,
    RequestRow,
)
from banyan.store.types import OPEN_STATES, RequestState

_PAGE_ROWS = 500
_MAX_PROBLEMS = 100  # of one kind; a broken disk breaks everything
_is_kept = RequestRow.erased_at.is_(None) & (RequestRow.store_mode != str(StoreMode.NONE))


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What was checked and what is wrong with it."""

    num_requests: int
    num_outputs: int
    num_artifacts: int
    num_dead_letters: int
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_database(database: Database) -> VerifyReport:
    """Check the file, every reference, every state and every hash.

    Raises: StoreError if the database cannot be read at all.
    """
    with database.read() as connection:
        problems = [
            *(_file_problems(connection) if database.is_sqlite else ()),
            *_state_problems(connection),
            *_content_problems(connection),
            *_output_problems(connection),
            *_feedback_problems(connection),
            *_artifact_problems(connection),
            *audit_problems(connection),
        ]
        return VerifyReport(
            num_requests=_count(connection, RequestRow),
            num_outputs=_count(connection, OutputRow),
            num_artifacts=_count(connection, ArtifactRow),
            num_dead_letters=_count(connection, DeadLetterRow),
            problems=tuple(problems),
        )


def _count(connection: Connection, table: Any) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _file_problems(connection: Connection) -> Iterator[str]:
    for (word,) in connection.execute(text(f"PRAGMA integrity_check({_MAX_PROBLEMS})")):
        if word != "ok":
            yield f"file: {word}"
    for row in connection.execute(text("PRAGMA foreign_key_check")).fetchmany(_MAX_PROBLEMS):
        yield f"{row[0]} row {row[1]} refers to a row of {row[2]} that is not there"


def _state_problems(connection: Connection) -> Iterator[str]:
    is_open = RequestRow.state.in_([str(state) for state in OPEN_STATES])
    wrong = select(RequestRow.id, RequestRow.state).where(is_open == RequestRow.finished_at.is_not(None))
    for key, state in connection.execute(wrong.limit(_MAX_PROBLEMS)):
        yield f"request {key} is {state} but its end time says otherwise"
    counted = func.count(OutputRow.id)
    incomplete = (
        select(RequestRow.id, RequestRow.num_choices, counted)
        .outerjoin(OutputRow, OutputRow.request_id == RequestRow.id)
        .where(RequestRow.state == str(RequestState.COMPLETED), _is_kept)
        .group_by(RequestRow.id, RequestRow.num_choices)
        .having(counted != RequestRow.num_choices)
    )
    for key, wanted, found in connection.execute(incomplete.limit(_MAX_PROBLEMS)):
        yield f"request {key} is completed with {found} outputs where {wanted} were asked for"


def _content_problems(connection: Connection) -> Iterator[str]:
    missing = (
        select(RequestRow.id)
        .outerjoin(RequestContentRow, RequestContentRow.request_id == RequestRow.id)
        .where(RequestContentRow.request_id.is_(None), RequestRow.erased_at.is_(None))
    )
    for key in connection.scalars(missing.limit(_MAX_PROBLEMS)):
        yield f"request {key} has no content"
    bodies = select(RequestContentRow.request_id, RequestContentRow.body, RequestContentRow.source)
    for row in _in_pages(connection, bodies):
        if not all(_is_json(data) for data in (row.body, row.source) if data is not None):
            yield f"request {row.request_id}: the content cannot be unpacked"


def _output_problems(connection: Connection) -> Iterator[str]:
    has_text = RequestRow.store_mode != str(StoreMode.HASH)
    texts = select(OutputRow.id, OutputRow.content, OutputRow.text_sha256)
    for row in _in_pages(connection, texts.join(RequestRow, RequestRow.id == OutputRow.request_id).where(has_text)):
        try:
            content = unpack_text(row.content).encode("utf-8", "surrogatepass")
        except StoreError:
            yield f"output {row.id}: the text cannot be unpacked"
            continue
        if sha256(content).hexdigest() != row.text_sha256:
            yield f"output {row.id}: sha256 mismatch of the text"


def _feedback_problems(connection: Connection) -> Iterator[str]:
    beyond = or_(FeedbackRow.choice_index < 0, FeedbackRow.choice_index >= RequestRow.num_choices)
    wrong = select(FeedbackRow.id, FeedbackRow.choice_index, RequestRow.num_choices)
    wrong = wrong.join(RequestRow, RequestRow.id == FeedbackRow.request_id).where(beyond)
    for key, index, num_choices in connection.execute(wrong.limit(_MAX_PROBLEMS)):
        yield f"feedback {key} judges answer {index} of a request with {num_choices}, counted from 0"


def _artifact_problems(connection: Connection) -> Iterator[str]:
    for row in _in_pages(connection, select(ArtifactRow.sha256, ArtifactRow.data, ArtifactRow.size_bytes)):
        if sha256(row.data).hexdigest() != row.sha256 or len(row.data) != row.size_bytes:
            yield f"artifact {row.sha256}: its bytes are not the ones it was named after"
    is_held = exists().where(OutputArtifactRow.sha256 == ArtifactRow.sha256)
    for key in connection.scalars(select(ArtifactRow.sha256).where(~is_held).limit(_MAX_PROBLEMS)):
        yield f"artifact {key} belongs to no output; erasing would not reach it"


def _in_pages(connection: Connection, statement: Any) -> Iterator[Any]:
    """Yield rows with a bounded number of them in memory."""
    yield from connection.execution_options(yield_per=_PAGE_ROWS).execute(statement)


def _is_json(data: bytes) -> bool:
    try:
        unpack_json(data)
    except StoreError:
        return False
    return True
