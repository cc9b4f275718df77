"""POST /tokenize and POST /detokenize: what a model reads for a text, and the text that ids stand for."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.serve.errors import bad_request
from banyan.serve.openapi import takes
from banyan.serve.reading import receive
from banyan.serve.served_model import ServedModel
from banyan.serve.task_lookup import task_of_kind
from banyan.serve.token_schemas import DetokenizeRequest, TokenizeRequest

router = APIRouter()


@router.post("/tokenize", openapi_extra=takes(TokenizeRequest), summary="Turn a text into token ids")
async def tokenize(request: Request) -> Response:
    """Return the ids of a text, or of a conversation with the tokens that only code can put in."""
    received = await receive(request, TokenizeRequest)
    asked, model = received.asked, received.parts.model
    with received.parts.admission.place():
        token_ids = await asyncio.to_thread(_ids_of, asked, model)
    return JSONResponse(
        {
            "model": model.facts.name,
            "count": len(token_ids),
            "max_model_len": model.facts.max_seq_len,
            "tokens": token_ids,
            "token_strs": [model.vocabulary.describe(token_id) for token_id in token_ids],
        }
    )


@router.post("/detokenize", openapi_extra=takes(DetokenizeRequest), summary="Turn token ids into text")
async def detokenize(request: Request) -> Response:
    """Return the text of ids; special tokens and image codes have none."""
    received = await receive(request, DetokenizeRequest)
    vocabulary = received.parts.model.vocabulary
    for index, token_id in enumerate(received.asked.tokens):
        if token_id >= vocabulary.size:
            message = f"tokens[{index}] is {token_id}, outside the vocabulary (0-{vocabulary.size - 1})"
            raise bad_request("invalid_value", message, param="tokens")
    return JSONResponse({"prompt": vocabulary.decode(received.asked.tokens)})


def _ids_of(asked: TokenizeRequest, model: ServedModel) -> list[int]:
    if asked.messages is None:
        return model.vocabulary.encode(asked.prompt or "")
    task = task_of_kind(model, "dialogue")
    messages = [{"role": message.role, "content": message.content} for message in asked.messages]
    return list(model.prompt(task.name, task.parse({"messages": messages}, with_answer=False)).token_ids)
