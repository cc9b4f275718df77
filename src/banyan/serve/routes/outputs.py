"""/v1/outputs and POST /v1/feedback: what was answered, deleting or stopping it, and what people think of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.core.errors import InputError
from banyan.infer.embedding import EmbeddingConfig
from banyan.serve.auditing import NO_KEY, note
from banyan.serve.auth import require_scope
from banyan.serve.corrections import check_correction, judged_index
from banyan.serve.errors import ApiError, conflict, not_found
from banyan.serve.live import until_disconnected
from banyan.serve.openapi import asks, takes
from banyan.serve.parts import ServerParts, key_id_of, may_see_all, parts_of
from banyan.serve.pictures import as_base64, picture_as_json
from banyan.serve.reading import receive
from banyan.serve.schemas import FeedbackRequest, OutputsQuery
from banyan.serve.searching import IsOver
from banyan.serve.validation import validate_query
from banyan.store.erasure import EraseRequests, forget
from banyan.store.key_types import StoreMode
from banyan.store.privacy import kept_feedback
from banyan.store.queries import RequestFilter, SearchPage
from banyan.store.similar import Found, SimilarAnswers, Vectors, VectorSpace
from banyan.store.times import utc_microseconds
from banyan.store.types import OPEN_STATES, VECTOR_MEDIA_TYPE, StoredExchange, StoredFeedback, StoredOutput

router = APIRouter()

_HOW = EmbeddingConfig()
_MAX_NEW_VECTORS = 256  # answers read for one search by meaning; the next one reads on
_ID = re.compile(r"(?:[a-z]+-)?([0-9A-HJKMNP-TV-Z]{26})")  # a ULID, with or without the prefix of an endpoint


@router.get("/v1/outputs", openapi_extra=asks(OutputsQuery), summary="List stored answers")
async def outputs(request: Request) -> Response:
    """List one's own stored requests with their answers, the newest first; pictures and vectors only by id."""
    require_scope(request, "outputs")
    query = validate_query(OutputsQuery, request.query_params)
    if query.similar is not None:
        return await _similar(request, query, query.similar)
    if query.q is not None:
        return _page(await _search(request, query, query.q))
    found = await asyncio.to_thread(_newest, parts_of(request), query, _owner(request))
    await _note_foreign(request, found.hits)
    return _page(found)


@router.get("/v1/outputs/{output_id}", summary="Show a stored answer")
async def output(request: Request, output_id: str) -> Response:
    """Show one of one's own stored requests, whole, with its pictures and vectors."""
    require_scope(request, "outputs")
    exchange = await _show(request, output_id)
    return JSONResponse(_describe(exchange, with_pictures=True))


@router.delete("/v1/outputs/{output_id}", summary="Stop or delete a request")
async def delete_output(request: Request, output_id: str) -> Response:
    """Stop a request of one's own that is being answered; delete the content of one that has ended."""
    require_scope(request, "outputs")
    parts = parts_of(request)
    exchange = await _show(request, output_id)
    request_id = exchange.request.request_id
    was_running = await parts.admission.call_off(request_id)
    if not was_running:
        if exchange.state in OPEN_STATES:
            raise conflict("this request is being answered by another process; try again when it has ended")
        actor = key_id_of(request) or NO_KEY
        erase = EraseRequests(request_ids=(request_id,), actor=actor, reason="asked", at=utc_microseconds())
        await asyncio.shield(asyncio.wrap_future(parts.store.submit(erase)))
        await asyncio.to_thread(forget, parts.store.database)
    done = {"cancelled": was_running, "deleted": not was_running}
    return JSONResponse({"id": request_id, "object": "output.deleted", **done})


@router.post("/v1/feedback", openapi_extra=takes(FeedbackRequest), summary="Judge a stored answer")
async def feedback(request: Request) -> Response:
    """Keep what a person thinks of one of their stored answers; of several to one request, the one with the `index`."""
    received = await receive(request, FeedbackRequest, scope="outputs")
    asked = received.asked
    exchange = await _show(request, asked.id)
    given = StoredFeedback(
        request_id=exchange.request.request_id,
        choice_index=judged_index(exchange, asked.index),
        rating=asked.rating,
        comment=asked.comment,
        correction=asked.correction,
        api_key_id=key_id_of(request),
    )
    kept = kept_feedback(given, StoreMode(exchange.request.store_mode))
    check_correction(received.parts, exchange, kept)
    await asyncio.shield(asyncio.wrap_future(received.parts.store.add_feedback(kept)))
    named = {"request_id": given.request_id, "index": given.choice_index}
    return JSONResponse({"id": given.feedback_id, "object": "feedback", **named})


def _owner(request: Request) -> str | None:
    """Return whose outputs may be seen: the key's own, or everybody's (None)."""
    return None if may_see_all(request) else key_id_of(request)


async def _show(request: Request, output_id: str) -> StoredExchange:
    """Return one's own stored request; somebody else's is as missing as one that never was."""
    match = _ID.fullmatch(output_id)
    if match is None:
        raise not_found()
    show = parts_of(request).store.queries.show
    try:
        exchange = await asyncio.to_thread(show, match[1], api_key_id=_owner(request))
    except InputError as error:
        raise not_found() from error
    if key_id_of(request) not in (None, exchange.request.api_key_id):
        await note(request, "output.read", object_id=exchange.request.request_id)
    return exchange


async def _note_foreign(request: Request, found: Sequence[StoredExchange]) -> None:
    """Keep in the audit log that somebody read what others were answered."""
    own = key_id_of(request)
    foreign = sum(exchange.request.api_key_id != own for exchange in found)
    if own is not None and foreign:
        await note(request, "output.list", requests=foreign)


def _page(found: SearchPage) -> Response:
    page = [_describe(exchange) for exchange in found.hits]
    more = {"has_more": found.read_until is not None, "next_before": found.read_until}
    return JSONResponse({"object": "list", "data": page, **more})


def _newest(parts: ServerParts, query: OutputsQuery, owner: str | None) -> SearchPage:
    # One more than is shown tells whether there is another page.
    wanted = replace(_wanted(query, owner), limit=query.limit + 1)
    found = list(parts.store.queries.iterate(wanted, with_artifacts=False))
    shown = tuple(found[: query.limit])
    return SearchPage(hits=shown, read_until=shown[-1].request.request_id if len(found) > len(shown) else None)


def _wanted(query: OutputsQuery, owner: str | None) -> RequestFilter:
    return RequestFilter(
        task=query.task, state=query.state, api_key_id=owner, before_id=query.before, limit=query.limit
    )


async def _search(request: Request, query: OutputsQuery, text: str) -> SearchPage:
    """Return the requests that contain a text; where that takes long, those found by then."""
    parts, wanted = parts_of(request), _wanted(query, _owner(request))

    def work(is_over: IsOver) -> SearchPage:
        return parts.store.queries.search_page(text, wanted, is_over=is_over)

    owner = key_id_of(request) or ""
    searching = parts.searches.run(work, owner=owner, seconds=parts.settings.search_seconds)
    found = await until_disconnected(request, searching)
    await _note_foreign(request, found.hits)
    return found


async def _similar(request: Request, query: OutputsQuery, text: str) -> Response:
    """List the requests whose answers come nearest to a text; some that were never read get a vector first."""
    parts, loop = parts_of(request), asyncio.get_running_loop()
    owner, seconds = key_id_of(request) or "", parts.settings.answer_seconds

    def work(is_over: IsOver) -> Found:
        def embed(texts: Sequence[str]) -> Vectors:
            """Ask the model from the thread that reads the store."""
            if is_over():
                raise ApiError(
                    504, "timeout", f"the search took longer than {seconds:g} s; the next one goes on from it"
                )
            return asyncio.run_coroutine_threadsafe(_embed(parts, texts, owner), loop).result()

        return SimilarAnswers(parts.store.database, space, embed).search(text, wanted, max_new=_MAX_NEW_VECTORS)

    with parts.admission.place():
        facts = parts.model.facts
        space = VectorSpace(model_sha256=facts.sha256, pooling=str(_HOW.pooling), layer=facts.num_layers)
        wanted = _wanted(query, _owner(request))
        searching = parts.searches_by_meaning.run(work, owner=owner, seconds=seconds)
        found = await until_disconnected(request, searching)
    await _note_foreign(request, [hit.exchange for hit in found.hits])
    page = [{"similarity": hit.score, **_describe(hit.exchange)} for hit in found.hits]
    return JSONResponse({"object": "list", "data": page, "has_more": False, "num_unread": found.num_unread})


async def _embed(parts: ServerParts, texts: Sequence[str], owner: str) -> Vectors:
    return np.stack(await parts.model.embed(await parts.model.read_texts(texts, _HOW), owner=owner))


def _describe(exchange: StoredExchange, *, with_pictures: bool = False) -> dict[str, Any]:
    request, answer = exchange.request, exchange.answer
    stored = answer.outputs if answer else ()
    return {
        "id": request.request_id,
        "object": "output",
        "created": request.received_at // 1_000_000,
        "endpoint": request.endpoint,
        "task": request.task,
        "kind": request.task_kind,
        "model": request.model_name,
        "model_sha256": request.model_sha256,
        "state": str(exchange.state),
        "store_mode": request.store_mode,
        "error_code": answer.error_code if answer else None,
        "stream": request.stream,
        "params": dict(request.params),
        "seed": request.seed,
        "prompt_sha256": request.prompt_sha256,
        "prompt_tokens": request.num_prompt_tokens,
        "completion_tokens": answer.num_completion_tokens if answer else 0,
        "body": dict(request.body),
        "partial_text": exchange.partial_text or None,
        "outputs": [_output(each, with_pictures=with_pictures) for each in stored],
        "feedback": [_feedback(each) for each in exchange.feedback],
    }


def _output(stored: StoredOutput, *, with_pictures: bool) -> dict[str, Any]:
    files = stored.artifacts if with_pictures else ()
    pictures = [picture_as_json(file) for file in files if file.media_type != VECTOR_MEDIA_TYPE]
    vectors = [as_base64(file) for file in files if file.media_type == VECTOR_MEDIA_TYPE]
    return {
        "index": stored.choice_index,
        "text": stored.text,
        "finish_reason": stored.finish_reason,
        "prediction": stored.prediction,
        **({"images": pictures} if with_pictures else {}),
        **({"vectors": vectors} if vectors else {}),  # base64 of little-endian float32
    }


def _feedback(given: StoredFeedback) -> dict[str, Any]:
    said = {"rating": given.rating, "comment": given.comment, "correction": given.correction}
    return {"index": given.choice_index, **said}
