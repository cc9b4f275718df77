"""POST /v1/completions: how a text goes on."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from banyan.core.types import MaskKind, Prompt, Text
from banyan.serve.errors import bad_request
from banyan.serve.generation import respond, text_ask
from banyan.serve.openai_shapes import CompletionShape
from banyan.serve.openapi import takes
from banyan.serve.reading import receive
from banyan.serve.schemas import MAX_CHOICES, MAX_PROMPTS, CompletionRequest
from banyan.serve.served_model import ServedModel
from banyan.serve.task_lookup import find_task_of_kind

router = APIRouter()

DEFAULT_MAX_TOKENS = 16  # of the OpenAI protocol
PLAIN_TEXT = "text"  # stored as the task where the model has no language-modelling task of its own


@router.post("/v1/completions", openapi_extra=takes(CompletionRequest), summary="Continue a text")
async def completions(request: Request) -> Response:
    """Continue one or several texts; streamed as server-sent events if the request says so."""
    received = await receive(request, CompletionRequest)
    asked, model = received.asked, received.parts.model
    if len(asked.prompt) * asked.num_choices > max(MAX_PROMPTS, MAX_CHOICES):
        raise bad_request("out_of_range", f"prompts times n must be at most {MAX_PROMPTS}", param="n")
    prompts = await received.worked_out(lambda: [_prompt(prompt, model) for prompt in asked.prompt])
    texts = [prompt for prompt in asked.prompt if isinstance(prompt, str)]
    ask = text_ask(
        request,
        received,
        prompts,
        max_tokens=asked.max_tokens,
        default_max_tokens=DEFAULT_MAX_TOKENS,
        sources=[{"text": text} for text in texts] if len(texts) == len(prompts) else (),
    )
    return await respond(request, received, ask, CompletionShape(with_log_probs=asked.logprobs is not None))


def _prompt(given: str | tuple[int, ...], model: ServedModel) -> Prompt:
    """Make a text or token ids into a prompt; a text the way the language-modelling task does, if there is one."""
    vocabulary = model.vocabulary
    task = find_task_of_kind(model, "language_modeling")
    if isinstance(given, str) and task is not None:
        return model.prompt(task.name, task.example_from_text(given))
    if isinstance(given, str):
        token_ids = (*vocabulary.start_ids, *vocabulary.encode(given)) or (vocabulary.bos_id,)
    else:
        token_ids = given
    for token_id in token_ids:
        if token_id >= vocabulary.text_size:
            raise bad_request(
                "invalid_value", f"prompt holds {token_id}, which is not a valid token id", param="prompt"
            )
    return Prompt(
        task=task.name if task else PLAIN_TEXT,
        token_ids=tuple(token_ids),
        mask=MaskKind.CAUSAL,
        decoding=Text(max_tokens=DEFAULT_MAX_TOKENS, stop_token_ids=vocabulary.text_stop_ids),
    )
