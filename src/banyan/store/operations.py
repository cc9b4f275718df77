"""The writes that a request and its answer need (see rows.py for what a write is)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Delete, Update, bindparam, delete, select, update

from banyan.core.errors import InputError
from banyan.core.ids import new_ulid
from banyan.store.codec import hash_text, pack_ids, pack_json, pack_optional_json, pack_text
from banyan.store.rows import insert_if_absent, insert_row
from banyan.store.schema import (
    ANSWER_COLUMNS,
    REQUEST_COLUMNS,
    ArtifactRow,
    FeedbackRow,
    ModelRow,
    OutputArtifactRow,
    OutputRow,
    RequestContentRow,
    RequestRow,
)
from banyan.store.types import (
    OPEN_STATES,
    RequestId,
    RequestState,
    StoredAnswer,
    StoredArtifact,
    StoredFeedback,
    StoredOutput,
    StoredRequest,
)


def model_id_of(name: str, manifest_sha256: str) -> str:
    """Return the key of a model: the same in every process, so that nobody has to look it up."""
    return sha256(f"{name}\0{manifest_sha256}".encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class AddModel:
    """Remember a model."""

    name: str
    sha256: str
    at: int
    tasks: tuple[str, ...] | None = None
    num_parameters: int | None = None
    max_seq_len: int | None = None

    @property
    def num_bytes(self) -> int:
        """A few words."""
        return 512

    @property
    def key(self) -> str:
        """The id of its row."""
        return model_id_of(self.name, self.sha256)

    def apply(self, connection: Connection) -> str:
        """Insert the model, or add to a bare row of it what was not known, and return its id."""
        known = {"num_parameters": self.num_parameters, "max_seq_len": self.max_seq_len}
        facts = {"tasks": None if self.tasks is None else list(self.tasks), **known}
        row = {"id": self.key, "name": self.name, "sha256": self.sha256, "created_at": self.at, **facts}
        if not insert_if_absent(connection, ModelRow, row) and self.tasks is not None:
            connection.execute(update(ModelRow).where(ModelRow.id == self.key).values(facts))
        return self.key

    def payload(self) -> Mapping[str, Any]:
        """Return the model's facts."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class BeginRequest:
    """Write a request before any work on it begins."""

    request: StoredRequest
    instance_id: str

    @property
    def num_bytes(self) -> int:
        """The size of its texts, roughly."""
        request = self.request
        return 1024 + len(str(request.body)) + len(str(request.source)) + len(str(request.sources))

    def apply(self, connection: Connection) -> RequestId:
        """Insert the request with its content; a request that is already there is left alone."""
        request = self.request
        AddModel(name=request.model_name, sha256=request.model_sha256, at=request.received_at).apply(connection)
        if insert_if_absent(connection, RequestRow, self._row()):
            source = list(request.sources) or request.source
            content = {"body": pack_json(request.body), "source": pack_optional_json(source)}
            insert_row(connection, RequestContentRow, {"request_id": request.request_id, **content})
        return request.request_id

    def payload(self) -> Mapping[str, Any]:
        """Return the request as it was given."""
        return asdict(self.request)

    def _row(self) -> dict[str, Any]:
        request = self.request
        return {
            **{name: getattr(request, name) for name in REQUEST_COLUMNS},
            "id": request.request_id,
            "server_instance_id": self.instance_id,
            "model_id": model_id_of(request.model_name, request.model_sha256),
            "params": dict(request.params),
            "state": str(RequestState.ACCEPTED),
            "num_completion_tokens": 0,
            "num_cached_tokens": 0,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class NoteProgress:
    """Keep the part of an answer that exists so far."""

    request_id: RequestId
    text: str
    at: int

    @property
    def num_bytes(self) -> int:
        """The size of the text, roughly."""
        return 256 + 4 * len(self.text)

    def apply(self, connection: Connection) -> None:
        """Mark the request as running and replace its partial output; a finished request is left alone."""
        if not _move_state(connection, self.request_id, {"state": str(RequestState.RUNNING)}):
            return
        _drop_outputs(connection, self.request_id)
        if self.text:
            output = StoredOutput(text=self.text, finish_reason=None)
            _insert_output(connection, self.request_id, output, partial=True, at=self.at)

    def payload(self) -> Mapping[str, Any]:
        """Return the partial text."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishRequest:
    """Write the end of a request with all its outputs."""

    request_id: RequestId
    answer: StoredAnswer

    @property
    def num_bytes(self) -> int:
        """The size of texts, predictions and artifacts, roughly."""
        return 1024 + sum(_output_bytes(output) for output in self.answer.outputs)

    def apply(self, connection: Connection) -> None:
        """Set the final state and insert the outputs; an answer that is already there is left alone.

        An answer without outputs leaves the partial one, if any, in place.
        Raises: InputError if there is no such request.
        """
        answer = self.answer
        facts = {name: getattr(answer, name) for name in ANSWER_COLUMNS}
        if not _move_state(connection, self.request_id, {"state": str(answer.state), **facts}):
            _require_request(connection, self.request_id)
            return
        if answer.outputs:
            replace_outputs(connection, self.request_id, answer)

    def payload(self) -> Mapping[str, Any]:
        """Return the answer as it was given."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordExchange:
    """Write a request and its answer together, for work that was not announced before."""

    begin: BeginRequest
    finish: FinishRequest

    @property
    def num_bytes(self) -> int:
        """That of both parts."""
        return self.begin.num_bytes + self.finish.num_bytes

    def apply(self, connection: Connection) -> RequestId:
        """Apply both parts."""
        self.begin.apply(connection)
        self.finish.apply(connection)
        return self.begin.request.request_id

    def payload(self) -> Mapping[str, Any]:
        """Return both parts."""
        return {"request": self.begin.payload(), "answer": self.finish.payload()}


@dataclass(frozen=True, kw_only=True, slots=True)
class AddFeedback:
    """Keep what a person thought of an answer."""

    feedback: StoredFeedback

    @property
    def num_bytes(self) -> int:
        """The size of its texts, roughly."""
        return 512 + 4 * (len(self.feedback.comment or "") + len(self.feedback.correction or ""))

    def apply(self, connection: Connection) -> str:
        """Insert the feedback.

        Raises: InputError if there is no such request, or no such answer to it.
        """
        feedback = self.feedback
        num_choices = _require_request(connection, feedback.request_id)
        if feedback.choice_index is not None and not 0 <= feedback.choice_index < num_choices:
            raise InputError(
                f"choice_index={feedback.choice_index} is no answer of request {feedback.request_id}, which has "
                f"{num_choices}, counted from 0."
            )
        row = {
            "id": feedback.feedback_id,
            "request_id": feedback.request_id,
            "api_key_id": feedback.api_key_id,
            "rating": feedback.rating,
            "comment": None if feedback.comment is None else pack_text(feedback.comment),
            "correction": None if feedback.correction is None else pack_text(feedback.correction),
            "at": feedback.at,
            "choice_index": feedback.choice_index,
        }
        insert_if_absent(connection, FeedbackRow, row)
        return feedback.feedback_id

    def payload(self) -> Mapping[str, Any]:
        """Return the feedback as it was given."""
        return asdict(self.feedback)


def replace_outputs(connection: Connection, request_id: RequestId, answer: StoredAnswer) -> None:
    """Put the outputs of an answer in the place of those that are stored of its request."""
    _drop_outputs(connection, request_id)
    partial = answer.state is not RequestState.COMPLETED
    for output in answer.outputs:
        _insert_output(connection, request_id, output, partial=partial, at=answer.finished_at)


def _move_state(connection: Connection, request_id: RequestId, values: Mapping[str, Any]) -> bool:
    """Update a request that has not ended, and say whether there was one."""
    return connection.execute(_change_while_open(), {"request": request_id, **values}).rowcount > 0


@cache  # as those of rows.py are
def _change_while_open() -> Update:
    columns = RequestRow.__table__.c
    is_open = columns.state.in_([str(state) for state in OPEN_STATES])
    return update(RequestRow.__table__).where(columns.id == bindparam("request"), is_open)  # type: ignore[arg-type]


def _require_request(connection: Connection, request_id: RequestId) -> int:
    """Return how many answers a stored request asked for."""
    num_choices = connection.scalar(select(RequestRow.num_choices).where(RequestRow.id == request_id))
    if num_choices is None:
        raise InputError(f"there is no stored request {request_id!r}.")
    return num_choices


def _drop_outputs(connection: Connection, request_id: RequestId) -> None:
    connection.execute(_deletion_of_outputs(), {"request": request_id})


@cache
def _deletion_of_outputs() -> Delete:
    table = OutputRow.__table__
    return delete(table).where(table.c.request_id == bindparam("request"))  # type: ignore[arg-type]


def _insert_output(
    connection: Connection, request_id: RequestId, output: StoredOutput, *, partial: bool, at: int
) -> None:
    key = new_ulid()
    row = {
        "id": key,
        "request_id": request_id,
        "choice_index": output.choice_index,
        "content": pack_text(output.text),
        "text_sha256": output.text_sha256 or hash_text(output.text),
        "token_ids": pack_ids(output.token_ids) if output.token_ids else None,
        "finish_reason": output.finish_reason,
        "prediction": pack_optional_json(output.prediction),
        "partial": partial,
        "created_at": at,
    }
    insert_row(connection, OutputRow, row)
    for position, artifact in enumerate(output.artifacts):
        _insert_artifact(connection, artifact, at=at)
        link = {"output_id": key, "position": position, "sha256": artifact.sha256}
        insert_row(connection, OutputArtifactRow, link)


def _insert_artifact(connection: Connection, artifact: StoredArtifact, *, at: int) -> None:
    row = {
        "sha256": artifact.sha256,
        "media_type": artifact.media_type,
        "size_bytes": len(artifact.data),
        "width": artifact.width,
        "height": artifact.height,
        "data": artifact.data,
        "created_at": at,
    }
    insert_if_absent(connection, ArtifactRow, row)


def _output_bytes(output: StoredOutput) -> int:
    artifacts = sum(len(artifact.data) for artifact in output.artifacts)
    return 256 + 4 * len(output.text) + 8 * len(output.token_ids) + artifacts + len(str(output.prediction))
