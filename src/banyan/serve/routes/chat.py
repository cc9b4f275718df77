"""POST /v1/chat/completions: the assistant's next message."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from banyan.serve.generation import respond, text_ask
from banyan.serve.openai_shapes import ChatShape
from banyan.serve.openapi import takes
from banyan.serve.reading import receive
from banyan.serve.schemas import ChatRequest
from banyan.serve.task_lookup import task_of_kind

router = APIRouter()


@router.post("/v1/chat/completions", openapi_extra=takes(ChatRequest), summary="Answer a conversation")
async def chat_completions(request: Request) -> Response:
    """Answer a conversation; streamed as server-sent events if the request says so."""
    received = await receive(request, ChatRequest)
    asked, parts = received.asked, received.parts
    task = task_of_kind(parts.model, "dialogue")
    messages = [{"role": message.role, "content": message.content} for message in asked.messages]
    source = {"messages": messages}
    if any(isinstance(message.content, list) for message in asked.messages):
        # The store keeps our own PNG of a picture, never the file that came.
        received = replace(received, body={**received.body, **source})
    prompt = await received.worked_out(lambda: parts.model.prompt(task.name, task.parse(source, with_answer=False)))
    ask = text_ask(
        request,
        received,
        [prompt],
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        default_max_tokens=parts.settings.max_completion_tokens,
        sources=[source],
    )
    return await respond(request, received, ask, ChatShape(with_log_probs=bool(asked.logprobs)))
