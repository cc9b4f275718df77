"""POST /v1/images/generations: pictures of what a text wishes for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.serve.answering import Ask, Choice, Question, answer
from banyan.serve.errors import bad_request
from banyan.serve.generation import stored_request
from banyan.serve.live import until_disconnected
from banyan.serve.openapi import takes
from banyan.serve.parts import ServerParts
from banyan.serve.pictures import as_artifact, as_base64, picture_sizes
from banyan.serve.reading import receive
from banyan.serve.sampling_fields import sampling_of, seed_of
from banyan.serve.schemas import ImageRequest
from banyan.serve.task_lookup import task_of_kind
from banyan.store.types import StoredOutput

router = APIRouter()


@router.post("/v1/images/generations", openapi_extra=takes(ImageRequest), summary="Draw pictures")
async def images(request: Request) -> Response:
    """Draw one or several pictures and return them as base64 PNG."""
    received = await receive(request, ImageRequest)
    asked, parts = received.asked, received.parts
    task = task_of_kind(parts.model, "image_generation")
    scale = _scale(asked.size, parts.model.facts.image_size or 0)
    prompt = parts.model.prompt(task.name, task.example_from_text(asked.prompt))
    seed = seed_of(asked)
    draw = partial(sampling_of, asked, parts.model.sampling_for(task.name), seed=seed)
    questions = [Question(prompt=prompt, sampling=draw(choice=choice)) for choice in range(asked.n or 1)]
    stored = stored_request(request, received, questions, prompts=[prompt], seed=seed, source={"text": asked.prompt})
    ask = Ask(stored=stored, questions=tuple(questions), as_outputs=partial(_outputs, parts=parts, scale=scale))
    answered = await until_disconnected(request, answer(parts, ask))
    usage = ask.usage(answered.choices)
    return JSONResponse(
        {
            "created": int(time.time()),
            "data": [{"b64_json": as_base64(output.artifacts[0])} for output in answered.outputs],
            "usage": {
                "input_tokens": usage.num_prompt_tokens,
                "output_tokens": usage.num_completion_tokens,
                "total_tokens": usage.num_prompt_tokens + usage.num_completion_tokens,
                "input_tokens_details": {"text_tokens": usage.num_prompt_tokens, "image_tokens": 0},
            },
        }
    )


def _scale(size: str | None, image_size: int) -> int:
    """Return how much larger than the model's own a picture shall be.

    Raises: ApiError 400 for a size that is not offered.
    """
    if size is None or size == "auto":
        return 1
    sizes = picture_sizes(image_size)
    if size not in sizes:
        raise bad_request("out_of_range", f"size must be one of {', '.join(sizes)}", param="size")
    return sizes[size]


def _outputs(choices: Sequence[Choice], *, parts: ServerParts, scale: int) -> list[StoredOutput]:
    return [_output(choice, parts, scale) for choice in choices]


def _output(choice: Choice, parts: ServerParts, scale: int) -> StoredOutput:
    prediction = parts.model.read(choice.prompt, choice.completion)
    assert prediction.image is not None, "a model that draws gives pictures"
    return StoredOutput(
        choice_index=choice.index,
        finish_reason=str(choice.completion.finish_reason),
        token_ids=choice.completion.token_ids,
        prediction={"image_codes": list(prediction.image_codes or ())},
        artifacts=(as_artifact(prediction.image, scale=scale),),
    )
