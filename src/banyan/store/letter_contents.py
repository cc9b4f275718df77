"""Makes the write again of which a dead letter holds the content: the other way round of every `payload`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import LargeBinary

from banyan.core.errors import StoreError
from banyan.store.audit import AuditEntry, RecordAudit
from banyan.store.dead_letters import NOT_JSON, UNWRITABLE
from banyan.store.erasure import EraseRequests
from banyan.store.operations import AddFeedback, AddModel, BeginRequest, FinishRequest, NoteProgress, RecordExchange
from banyan.store.rows import PutRow, Together, WriteOperation
from banyan.store.schema import Base
from banyan.store.types import (
    RequestState,
    StoredAnswer,
    StoredArtifact,
    StoredFeedback,
    StoredOutput,
    StoredRequest,
)


class UnreadableLetterError(StoreError):
    """A dead letter of which no write can be made."""


def write_of(source: str, payload: str, *, instance_id: str) -> WriteOperation:
    """Return the write that was refused; a request belongs to the process that gives it to the database now.

    Raises: UnreadableLetterError if the letter does not hold all of it, or is of a kind that is not written again.
    """
    try:
        return _write(source, json.loads(payload), instance_id)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UnreadableLetterError(f"its content is not that of {source} ({type(error).__name__}).") from error


def _write(source: str, content: Mapping[str, Any], instance_id: str) -> WriteOperation:
    if lost := content.get(UNWRITABLE) or content.get(NOT_JSON):
        raise UnreadableLetterError(f"it does not hold all that was to be written ({lost}).")
    if source not in _MAKERS:
        raise UnreadableLetterError(f"{source} changes what may have changed since; it is not written again.")
    return _MAKERS[source](content, instance_id)


def _begin(content: Mapping[str, Any], instance_id: str) -> BeginRequest:
    request = StoredRequest(**{**content, "sources": tuple(content.get("sources", ()))})
    return BeginRequest(request=request, instance_id=instance_id)


def _finish(content: Mapping[str, Any], _: str) -> FinishRequest:
    return FinishRequest(request_id=content["request_id"], answer=_answer(content["answer"]))


def _exchange(content: Mapping[str, Any], instance_id: str) -> RecordExchange:
    begin, finish = _begin(content["request"], instance_id), _finish(content["answer"], instance_id)
    return RecordExchange(begin=begin, finish=finish)


def _progress(content: Mapping[str, Any], _: str) -> NoteProgress:
    return NoteProgress(**content)


def _feedback(content: Mapping[str, Any], _: str) -> AddFeedback:
    return AddFeedback(feedback=StoredFeedback(**content))


def _model(content: Mapping[str, Any], _: str) -> AddModel:
    tasks = content.get("tasks")
    return AddModel(**{**content, "tasks": None if tasks is None else tuple(tasks)})


def _audit(content: Mapping[str, Any], _: str) -> RecordAudit:
    return RecordAudit(entry=AuditEntry(**content))


def _erasure(content: Mapping[str, Any], _: str) -> EraseRequests:
    return EraseRequests(**{**content, "request_ids": tuple(content["request_ids"])})


def _row(content: Mapping[str, Any], _: str) -> PutRow:
    tables: dict[str, type[Base]] = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}
    table = tables[content["table"]]
    columns = table.__table__.c
    values = {
        name: _bytes(value) if value is not None and isinstance(columns[name].type, LargeBinary) else value
        for name, value in content["values"].items()
    }
    return PutRow(table=table, values=values)  # whatever it was to replace: a row that is there may be a newer one


def _together(content: Mapping[str, Any], instance_id: str) -> Together:
    return Together(operations=tuple(_part(part, instance_id) for part in content["together"]))


def _part(part: Mapping[str, Any], instance_id: str) -> WriteOperation:
    if "source" in part:
        return _write(part["source"], part["payload"], instance_id)
    # Before it was named, the end of a request came together with the row that keeps it for a second asking.
    return _write("FinishRequest" if "answer" in part else "PutRow", part, instance_id)


def _answer(content: Mapping[str, Any]) -> StoredAnswer:
    outputs = tuple(map(_output, content["outputs"]))
    return StoredAnswer(**{**content, "state": RequestState(content["state"]), "outputs": outputs})


def _output(content: Mapping[str, Any]) -> StoredOutput:
    artifacts = tuple(StoredArtifact(**{**one, "data": _bytes(one["data"])}) for one in content["artifacts"])
    return StoredOutput(**{**content, "token_ids": tuple(content["token_ids"]), "artifacts": artifacts})


def _bytes(content: Mapping[str, str]) -> bytes:
    return base64.b64decode(content["base64"], validate=True)


_MAKERS: Mapping[str, Callable[[Mapping[str, Any], str], WriteOperation]] = {
    "BeginRequest": _begin,
    "FinishRequest": _finish,
    "RecordExchange": _exchange,
    "NoteProgress": _progress,
    "AddFeedback": _feedback,
    "AddModel": _model,
    "RecordAudit": _audit,
    "EraseRequests": _erasure,
    "PutRow": _row,
    "Together": _together,
}
