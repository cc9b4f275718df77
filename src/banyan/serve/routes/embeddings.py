"""POST /v1/embeddings: the vectors of texts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.core.hashing import hash_token_ids
from banyan.infer.embedding import EmbeddingConfig, Pooling, TextVector
from banyan.serve.answering import Finished, recorded, within_time
from banyan.serve.errors import bad_request
from banyan.serve.live import until_disconnected
from banyan.serve.openapi import takes
from banyan.serve.parts import ServerParts, key_id_of, request_id_of
from banyan.serve.reading import Received, client_label, receive
from banyan.serve.recording import Record
from banyan.serve.schemas import EmbeddingRequest
from banyan.store.types import VECTOR_MEDIA_TYPE, StoredArtifact, StoredOutput, StoredRequest

router = APIRouter()

Vector = NDArray[np.float32]


@router.post("/v1/embeddings", openapi_extra=takes(EmbeddingRequest), summary="Turn texts into vectors")
async def embeddings(request: Request) -> Response:
    """Return the vector of one text or several, of length 1, as numbers or as base64 of little-endian float32."""
    received = await receive(request, EmbeddingRequest)
    asked, parts = received.asked, received.parts
    _check_dimensions(asked.dimensions, embed_dim=parts.model.facts.embed_dim)
    how = _how(asked)
    texts = await parts.model.read_texts(asked.input, how)
    stored = _stored(request, received, texts, how)
    answering = _answer(parts, stored, texts, max_seconds=asked.timeout_seconds)
    vectors = await until_disconnected(request, answering)
    as_base64 = asked.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _as_text(vector) if as_base64 else vector.tolist()}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": stored.num_prompt_tokens, "total_tokens": stored.num_prompt_tokens}
    return JSONResponse({"object": "list", "data": data, "model": stored.model_name, "usage": usage})


def _how(asked: EmbeddingRequest) -> EmbeddingConfig:
    return EmbeddingConfig(
        pooling=Pooling(asked.pooling or Pooling.MEAN),
        layers=(-1 if asked.layer is None else asked.layer,),
        splits_long_texts=asked.long_input == "windows",
    )


async def _answer(
    parts: ServerParts, stored: StoredRequest, texts: Sequence[TextVector], *, max_seconds: float | None
) -> list[Vector]:
    async def work(_: Record) -> Finished[list[Vector]]:
        reading = parts.model.embed(texts, owner=stored.api_key_id or "")
        vectors = await within_time(parts, reading, max_seconds=max_seconds)
        return Finished(result=vectors, outputs=tuple(_output(index, vector) for index, vector in enumerate(vectors)))

    return await recorded(parts, stored, work)


def _check_dimensions(wanted: int | None, *, embed_dim: int) -> None:
    """Refuse vectors shorter than the model's own: it did not learn to say most in its first numbers."""
    if wanted is not None and wanted != embed_dim:
        message = f"dimensions must be {embed_dim}, the width of this model, got {wanted}"
        raise bad_request("unsupported_value", message, param="dimensions")


def _stored(
    request: Request, received: Received[EmbeddingRequest], texts: Sequence[TextVector], how: EmbeddingConfig
) -> StoredRequest:
    facts, given = received.parts.model.facts, received.asked.input
    return StoredRequest(
        request_id=request_id_of(request),
        endpoint=request.url.path,
        task="embeddings",
        task_kind="embedding",
        model_name=facts.name,
        model_sha256=facts.sha256,
        body=received.body,
        source={"text": given[0]} if len(given) == 1 and isinstance(given[0], str) else None,
        params=_params(how),
        num_choices=len(texts),
        prompt_sha256=hash_token_ids(row.token_ids for text in texts for row in text.rows),
        num_prompt_tokens=sum(text.num_tokens for text in texts),
        client_request_id=client_label(request),
        api_key_id=key_id_of(request),
    )


def _params(how: EmbeddingConfig) -> dict[str, Any]:
    return {"pooling": str(how.pooling), "layer": how.layers[0], "splits_long_texts": how.splits_long_texts}


def _output(index: int, vector: Vector) -> StoredOutput:
    return StoredOutput(choice_index=index, artifacts=(_as_artifact(vector),))


def _as_artifact(vector: Vector) -> StoredArtifact:
    return StoredArtifact(media_type=VECTOR_MEDIA_TYPE, data=vector.astype("<f4").tobytes())


def _as_text(vector: Vector) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
