"""POST /v1/images/generations: pictures of what a text wishes for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.core.types import Completion, Image, ImageGrid
from banyan.infer.sampling import SamplingConfig
from banyan.serve.answering import Ask, Choice, Listener, Question, answer
from banyan.serve.errors import as_api_error, bad_request
from banyan.serve.event_stream import Ending, EventStream
from banyan.serve.generation import stored_request
from banyan.serve.live import LiveAnswer, until_disconnected
from banyan.serve.openapi import takes
from banyan.serve.parts import ServerParts
from banyan.serve.picture_frames import PictureFrames
from banyan.serve.pictures import as_artifact, as_base64, picture_sizes
from banyan.serve.reading import receive
from banyan.serve.sampling_fields import sampling_of, seed_of
from banyan.serve.schemas import ImageRequest
from banyan.serve.task_lookup import task_of_kind
from banyan.store.types import StoredOutput

router = APIRouter()


@router.post("/v1/images/generations", openapi_extra=takes(ImageRequest), summary="Draw pictures")
async def images(request: Request) -> Response:
    """Draw one or several pictures and return them as base64 PNG; streamed, one picture with previews on the way."""
    received = await receive(request, ImageRequest)
    asked, parts = received.asked, received.parts
    task = task_of_kind(parts.model, "image_generation")
    scale = _scale(asked.size, parts.model.facts.image_size or 0)
    prompt = parts.model.prompt(task.name, task.example_from_text(asked.prompt))
    seed = seed_of(asked)
    base = parts.model.sampling_for(task.name)
    draw = partial(sampling_of, asked, _shown_at_once(asked, base) if asked.stream else base, seed=seed)
    questions = [Question(prompt=prompt, sampling=draw(choice=choice)) for choice in range(asked.n or 1)]
    stored = stored_request(request, received, questions, prompts=[prompt], seed=seed, sources=[{"text": asked.prompt}])
    ask = Ask(
        stored=stored,
        questions=tuple(questions),
        as_outputs=partial(_outputs, parts=parts, scale=scale),
        max_seconds=asked.timeout_seconds,
    )
    if asked.stream:
        return await _streamed(parts, ask, scale=scale, num_previews=asked.partial_images or 0)
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


def _shown_at_once(asked: ImageRequest, base: SamplingConfig) -> SamplingConfig:
    """Return how a picture is drawn that is shown meanwhile: of several candidates another might be kept in the end.

    Raises: ApiError 400 for a wish for several pictures.
    """
    for name in ("n", "num_candidates"):
        if (getattr(asked, name) or 1) > 1:
            raise bad_request("unsupported_value", f"stream=true draws one picture; {name} must be 1", param=name)
    return replace(base, num_candidates=1)


async def _streamed(parts: ServerParts, ask: Ask, *, scale: int, num_previews: int) -> Response:
    [question] = ask.questions
    grid = question.prompt.decoding
    assert isinstance(grid, ImageGrid), "a wish is answered by a picture"

    def show(token_ids: Sequence[int]) -> Image:
        drawn = parts.model.read(question.prompt, Completion(token_ids=tuple(token_ids)))
        assert drawn.image is not None, "a model that draws gives pictures"
        return drawn.image

    async def work(listener: Listener) -> Ending:
        answered = await answer(parts, ask, listener)
        return answered.finish_reasons, ask.usage(answered.choices)

    live = LiveAnswer(work)
    await live.until_begun()  # what cannot begin is refused with a status of its own
    return EventStream(
        live,
        PictureFrames(show=show, grid_size=grid.grid_size, num_previews=num_previews, scale=scale),
        translate=partial(as_api_error, request_id=ask.stored.request_id),
        ping_seconds=parts.settings.ping_seconds,
        send_seconds=parts.settings.send_seconds,
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
