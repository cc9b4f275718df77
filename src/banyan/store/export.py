"""Stored requests as plain values: one JSON object each, with everything that was kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from banyan.core.types import Prediction
from banyan.store.times import iso_time
from banyan.store.types import (
    VECTOR_MEDIA_TYPE,
    StoredAnswer,
    StoredArtifact,
    StoredExchange,
    StoredFeedback,
    StoredOutput,
)


def exchange_to_json(exchange: StoredExchange) -> dict[str, Any]:
    """Return a request, its answer and what people said about it."""
    request = exchange.request
    return {
        "id": request.request_id,
        "received_at": iso_time(request.received_at),
        "endpoint": request.endpoint,
        "task": request.task,
        "task_kind": request.task_kind,
        "model": request.model_name,
        "model_sha256": request.model_sha256,
        "state": str(exchange.state),
        "body": dict(request.body),
        "source": None if request.source is None else dict(request.source),
        "sources": [dict(each) for each in request.sources],
        "params": dict(request.params),
        "seed": request.seed,
        "num_choices": request.num_choices,
        "stream": request.stream,
        "prompt_sha256": request.prompt_sha256,
        "num_prompt_tokens": request.num_prompt_tokens,
        "client_request_id": request.client_request_id,
        "session_id": request.session_id,
        "api_key_id": request.api_key_id,
        "partial_text": exchange.partial_text,
        **_answer_facts(exchange.answer),
        "feedback": [_feedback_to_json(feedback) for feedback in exchange.feedback],
    }


def prediction_to_json(prediction: Prediction) -> dict[str, Any]:
    """Return what a prediction says beside its text: score, labels, tags, entities, span. Pictures are left out."""
    entities = None
    if prediction.entities is not None:
        entities = [
            {"label": e.label, "start": e.start, "end": e.end, "text": e.text, "score": e.score}
            for e in prediction.entities
        ]
    said = {
        "score": prediction.score,
        "labels": prediction.labels,
        "tags": None if prediction.tags is None else list(prediction.tags),
        "entities": entities,
        "span": None if prediction.span is None else list(prediction.span),
        "image_codes": None if prediction.image_codes is None else list(prediction.image_codes),
        "num_dropped_tokens": prediction.num_dropped_tokens or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _answer_facts(answer: StoredAnswer | None) -> dict[str, Any]:
    if answer is None:
        return {"outputs": []}
    return {
        "http_status": answer.http_status,
        "error_code": answer.error_code,
        "num_completion_tokens": answer.num_completion_tokens,
        "num_cached_tokens": answer.num_cached_tokens,
        "admitted_at": iso_time(answer.admitted_at),
        "first_token_at": iso_time(answer.first_token_at),
        "finished_at": iso_time(answer.finished_at),
        "outputs": [_output_to_json(output) for output in answer.outputs],
    }


def _output_to_json(output: StoredOutput) -> dict[str, Any]:
    return {
        "choice_index": output.choice_index,
        "text": output.text,
        "finish_reason": output.finish_reason,
        "prediction": None if output.prediction is None else dict(output.prediction),
        "token_ids": list(output.token_ids),
        "artifacts": [_artifact_to_json(artifact) for artifact in output.artifacts],
    }


def _artifact_to_json(artifact: StoredArtifact) -> dict[str, Any]:
    return {
        "sha256": artifact.sha256,
        "media_type": artifact.media_type,
        "size_bytes": len(artifact.data),
        "width": artifact.width,
        "height": artifact.height,
        "file": artifact_file_name(artifact),
    }


def artifact_file_name(artifact: StoredArtifact) -> str:
    """Return the name of the file that an export writes an artifact to."""
    if artifact.media_type == VECTOR_MEDIA_TYPE:
        return f"vectors/{artifact.sha256[:32]}.f32"
    ending = {"image/png": "png", "image/jpeg": "jpg"}.get(artifact.media_type, "bin")
    return f"images/{artifact.sha256[:32]}.{ending}"


def _feedback_to_json(feedback: StoredFeedback) -> Mapping[str, Any]:
    return {
        "id": feedback.feedback_id,
        "choice_index": feedback.choice_index,
        "at": iso_time(feedback.at),
        "rating": feedback.rating,
        "comment": feedback.comment,
        "correction": feedback.correction,
    }
