"""Reads requests back, whole: the same frozen objects that were written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from banyan.store.codec import unpack_ids, unpack_json, unpack_optional_json, unpack_text
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
    RequestState,
    StoredAnswer,
    StoredArtifact,
    StoredExchange,
    StoredFeedback,
    StoredOutput,
    StoredRequest,
)


def load_exchanges(
    connection: Connection, request_ids: Sequence[str], *, with_artifacts: bool = True
) -> list[StoredExchange]:
    """Return the requests with these ids, in this order, with everything stored about them."""
    facts = {row.id: row for row in connection.execute(_facts(request_ids))}
    outputs = _load_outputs(connection, request_ids, with_artifacts=with_artifacts)
    feedback = _load_feedback(connection, request_ids)
    found = [facts[key] for key in request_ids if key in facts]
    return [_exchange(row, outputs.get(row.id, ()), feedback.get(row.id, ())) for row in found]


def load_artifact(connection: Connection, sha256: str) -> StoredArtifact | None:
    """Return an artifact by its name, or None."""
    row = connection.execute(select(ArtifactRow.__table__).where(ArtifactRow.sha256 == sha256)).first()
    return None if row is None else _artifact(row)


def _facts(request_ids: Sequence[str]) -> Any:
    contents, models = RequestContentRow, ModelRow
    return (
        select(
            RequestRow.__table__,
            contents.body,
            contents.source,
            models.name.label("model_name"),
            models.sha256.label("model_sha256"),
        )
        .join(contents, contents.request_id == RequestRow.id)
        .join(models, models.id == RequestRow.model_id)
        .where(RequestRow.id.in_(request_ids))
    )


def _load_outputs(
    connection: Connection, request_ids: Sequence[str], *, with_artifacts: bool
) -> Mapping[str, list[StoredOutput]]:
    statement = select(OutputRow.__table__).where(OutputRow.request_id.in_(request_ids))
    rows = connection.execute(statement.order_by(OutputRow.request_id, OutputRow.choice_index)).all()
    artifacts = _load_artifacts(connection, [row.id for row in rows]) if with_artifacts and rows else {}
    found: dict[str, list[StoredOutput]] = defaultdict(list)
    for row in rows:
        found[row.request_id].append(_output(row, artifacts.get(row.id, ())))
    return found


def _load_artifacts(connection: Connection, output_ids: Sequence[str]) -> Mapping[str, list[StoredArtifact]]:
    links = OutputArtifactRow
    statement = (
        select(ArtifactRow.__table__, links.output_id)
        .join(links, links.sha256 == ArtifactRow.sha256)
        .where(links.output_id.in_(output_ids))
        .order_by(links.output_id, links.position)
    )
    found: dict[str, list[StoredArtifact]] = defaultdict(list)
    for row in connection.execute(statement):
        found[row.output_id].append(_artifact(row))
    return found


def _load_feedback(connection: Connection, request_ids: Sequence[str]) -> Mapping[str, list[StoredFeedback]]:
    statement = select(FeedbackRow.__table__).where(FeedbackRow.request_id.in_(request_ids))
    found: dict[str, list[StoredFeedback]] = defaultdict(list)
    for row in connection.execute(statement.order_by(FeedbackRow.at, FeedbackRow.id)):
        found[row.request_id].append(_feedback(row))
    return found


def _exchange(row: Row[Any], outputs: Iterable[StoredOutput], feedback: Iterable[StoredFeedback]) -> StoredExchange:
    state = RequestState(row.state)
    outputs = tuple(outputs)
    answer = None
    if state not in OPEN_STATES:
        answer = StoredAnswer(state=state, outputs=outputs, **{name: getattr(row, name) for name in ANSWER_COLUMNS})
    partial = outputs[0].text if answer is None and outputs else ""
    return StoredExchange(
        request=_request(row), state=state, answer=answer, partial_text=partial, feedback=tuple(feedback)
    )


def _request(row: Row[Any]) -> StoredRequest:
    source = unpack_optional_json(row.source)
    asked: dict[str, Any] = {"sources": tuple(source)} if isinstance(source, list) else {"source": source}
    return StoredRequest(
        request_id=row.id,
        model_name=row.model_name,
        model_sha256=row.model_sha256,
        body=unpack_json(row.body),
        **asked,
        **{name: getattr(row, name) for name in REQUEST_COLUMNS},
    )


def _output(row: Row[Any], artifacts: Iterable[StoredArtifact]) -> StoredOutput:
    return StoredOutput(
        choice_index=row.choice_index,
        text=unpack_text(row.content),
        finish_reason=row.finish_reason,
        prediction=unpack_optional_json(row.prediction),
        token_ids=unpack_ids(row.token_ids) if row.token_ids else (),
        artifacts=tuple(artifacts),
    )


def _artifact(row: Row[Any]) -> StoredArtifact:
    return StoredArtifact(media_type=row.media_type, data=row.data, width=row.width, height=row.height)


def _feedback(row: Row[Any]) -> StoredFeedback:
    return StoredFeedback(
        feedback_id=row.id,
        request_id=row.request_id,
        rating=row.rating,
        comment=None if row.comment is None else unpack_text(row.comment),
        correction=None if row.correction is None else unpack_text(row.correction),
        api_key_id=row.api_key_id,
        at=row.at,
        choice_index=row.choice_index,
    )
