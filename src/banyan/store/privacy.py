"""What is kept of a request and its answer, by the store mode of its key: applied before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from banyan.store.codec import hash_text
from banyan.store.key_types import StoreMode
from banyan.store.redaction import redact, redact_text
from banyan.store.types import VECTOR_MEDIA_TYPE, StoredAnswer, StoredFeedback, StoredOutput, StoredRequest


def kept_request(request: StoredRequest) -> StoredRequest:
    """Return what is written of a request; its own `store_mode` says how much."""
    mode = StoreMode(request.store_mode)
    if mode is StoreMode.FULL:
        return request
    if mode is StoreMode.REDACTED:
        source = None if request.source is None else redact(request.source)
        sources = tuple(redact(each) for each in request.sources)
        # The hash of a prompt whose blotted places are few digits would give them away.
        hidden = {"params": redact(request.params), "prompt_sha256": ""}
        return replace(request, body=redact(request.body), source=source, sources=sources, **hidden)
    hash_kept = request.prompt_sha256 if mode is StoreMode.HASH else ""
    nothing: dict[str, Any] = {
        "body": {},
        "source": None,
        "sources": (),
        "params": {},
        "client_request_id": None,
        "session_id": None,
    }
    return replace(request, prompt_sha256=hash_kept, **nothing)


def kept_answer(answer: StoredAnswer, mode: StoreMode) -> StoredAnswer:
    """Return what is written of an answer."""
    if mode is StoreMode.FULL:
        return answer
    if mode is StoreMode.NONE:
        return replace(answer, outputs=())
    keep = _redacted if mode is StoreMode.REDACTED else _hashed
    return replace(answer, outputs=tuple(keep(output) for output in answer.outputs))


def kept_feedback(feedback: StoredFeedback, mode: StoreMode) -> StoredFeedback:
    """Return what is written of somebody's judgement; without content only the rating is left."""
    if mode is StoreMode.FULL:
        return feedback
    if mode is StoreMode.REDACTED:
        comment, correction = (None if text is None else redact_text(text) for text in _words(feedback))
        return replace(feedback, comment=comment, correction=correction)
    return replace(feedback, comment=None, correction=None)


def _words(feedback: StoredFeedback) -> tuple[str | None, str | None]:
    return feedback.comment, feedback.correction


_TOKENS = ("log_probs", "alternatives")  # what is kept of the tokens of a text, beside their ids


def _redacted(output: StoredOutput) -> StoredOutput:
    """Leave out tokens and vectors, too: the text could be had from them."""
    pictures = tuple(file for file in output.artifacts if file.media_type != VECTOR_MEDIA_TYPE)
    said = {name: value for name, value in (output.prediction or {}).items() if name not in _TOKENS}
    prediction = None if output.prediction is None else redact(said)
    return replace(output, text=redact_text(output.text), prediction=prediction, token_ids=(), artifacts=pictures)


def _hashed(output: StoredOutput) -> StoredOutput:
    return StoredOutput(
        choice_index=output.choice_index, finish_reason=output.finish_reason, text_sha256=hash_text(output.text)
    )
