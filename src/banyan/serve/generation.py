"""What chat and completions share: from prompts to an ask, and from an ask to a streamed or whole answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.core.config import config_to_mapping
from banyan.core.errors import ContextLengthError
from banyan.core.hashing import hash_token_ids
from banyan.core.types import Completion, Prompt, Row
from banyan.infer.sampling import SamplingConfig
from banyan.serve.answering import Ask, Choice, Listener, Question, answer
from banyan.serve.errors import as_api_error, bad_request
from banyan.serve.event_stream import Ending, EventStream
from banyan.serve.frames import FrameWriter
from banyan.serve.live import LiveAnswer, until_disconnected
from banyan.serve.openai_shapes import Delta, Shape
from banyan.serve.parts import key_id_of, request_id_of
from banyan.serve.reading import Received, client_label
from banyan.serve.sampling_fields import sampling_of, seed_of
from banyan.serve.schemas import ChatRequest, CompletionRequest
from banyan.serve.task_lookup import sampling_for_task
from banyan.store.types import StoredOutput, StoredRequest


def room_for_answer(prompt: Prompt, *, max_tokens: int | None, context: int, default: int) -> int:
    """Return how many tokens an answer may have; what was asked for is given, or refused, never cut in silence.

    Raises: ContextLengthError if the prompt, or prompt and answer together, do not fit.
    """
    num_tokens = len(prompt) + prompt.num_dropped_tokens
    wanted = max_tokens or 1
    if prompt.num_dropped_tokens or num_tokens + wanted > context:
        raise ContextLengthError(
            f"prompt has {num_tokens} tokens and max_tokens is {wanted}; the limit is {context}",
            num_prompt_tokens=num_tokens,
            max_seq_len=context,
        )
    return max_tokens or min(context - num_tokens, default)


def text_ask(
    request: Request,
    received: Received[Any],
    prompts: Sequence[Prompt],
    *,
    max_tokens: int | None,
    default_max_tokens: int,
    sources: Sequence[Row],
) -> Ask:
    """Ask every prompt `n` times, each choice with a seed of its own.

    Raises: ContextLengthError if a prompt leaves too little room; ApiError 400 if a search shall be streamed.
    """
    asked: ChatRequest | CompletionRequest = received.asked
    parts = received.parts
    seed = seed_of(asked)
    base = sampling_for_task(parts.model, prompts[0].task)
    questions: list[Question] = []
    for prompt in prompts:
        room = room_for_answer(
            prompt, max_tokens=max_tokens, context=parts.model.facts.max_seq_len, default=default_max_tokens
        )
        for _ in range(asked.num_choices):
            sampling = sampling_of(
                asked, base, seed=seed, choice=len(questions), max_tokens=room, stop=asked.stop or ()
            )
            _check(sampling, is_streamed=bool(asked.stream), num_ids=parts.model.vocabulary.text_size)
            questions.append(Question(prompt=prompt, sampling=sampling))
    stored = stored_request(request, received, questions, prompts=prompts, seed=seed, sources=sources)
    return Ask(
        stored=stored,
        questions=tuple(questions),
        as_outputs=partial(text_outputs, with_log_probs=asked.wants_log_probs),
        choices_per_prompt=asked.num_choices,
        max_seconds=asked.timeout_seconds,
    )


def _check(sampling: SamplingConfig, *, is_streamed: bool, num_ids: int) -> None:
    if sampling.logit_bias and sampling.logit_bias[-1][0] >= num_ids:
        message = f"logit_bias names token {sampling.logit_bias[-1][0]}; the ids of tokens lie in 0..{num_ids - 1}"
        raise bad_request("out_of_range", message, param="logit_bias")
    if is_streamed and sampling.num_beams > 1:
        raise bad_request(
            "unsupported_value",
            f"stream=true does not go with num_beams={sampling.num_beams}: a search has no text before its end",
            param="stream",
        )


def stored_request(
    request: Request,
    received: Received[Any],
    questions: Sequence[Question],
    *,
    prompts: Sequence[Prompt],
    seed: int,
    sources: Sequence[Row],
) -> StoredRequest:
    """Return what the store keeps of a request, whatever its endpoint.

    `sources` are the input fields of a row of the task, of every input or of none.
    """
    facts = received.parts.model.facts
    task = received.parts.model.tasks.get(prompts[0].task)
    return StoredRequest(
        request_id=request_id_of(request),
        endpoint=request.url.path,
        task=prompts[0].task,
        task_kind=task.kind if task else "",
        model_name=facts.name,
        model_sha256=facts.sha256,
        body=received.body,
        source=sources[0] if len(sources) == 1 else None,
        sources=tuple(sources) if len(sources) > 1 else (),
        params=config_to_mapping(questions[0].sampling),
        seed=seed,
        num_choices=len(questions),
        stream=bool(getattr(received.asked, "stream", False)),
        prompt_sha256=hash_token_ids(prompt.token_ids for prompt in prompts),
        num_prompt_tokens=sum(len(prompt) for prompt in prompts),
        client_request_id=client_label(request),
        api_key_id=key_id_of(request),
    )


def text_outputs(choices: Sequence[Choice], *, with_log_probs: bool = False) -> list[StoredOutput]:
    """Keep each choice's text and tokens, and what the model thought of them if that belongs to the answer."""
    return [
        StoredOutput(
            choice_index=choice.index,
            text=choice.text,
            finish_reason=str(choice.completion.finish_reason),
            token_ids=choice.completion.token_ids,
            prediction=_log_probs(choice.completion) if with_log_probs else None,
        )
        for choice in choices
    ]


def _log_probs(completion: Completion) -> dict[str, Any]:
    alternatives = {"alternatives": completion.alternatives} if completion.alternatives else {}
    return {"log_probs": completion.token_log_probs, **alternatives}


async def respond(request: Request, received: Received[Any], ask: Ask, shape: Shape) -> Response:
    """Answer in the form that was asked for."""
    if received.asked.stream:
        return await _streamed(received, ask, shape)
    answered = await until_disconnected(request, answer(received.parts, ask))
    wholes = [_whole(choice, shape) for choice in answered.choices]
    envelope = _envelope(ask, shape, object_name=shape.object_name)
    return JSONResponse({**envelope, "choices": wholes, "usage": ask.usage(answered.choices).as_json()})


def _whole(choice: Choice, shape: Shape) -> dict[str, Any]:
    delta = Delta(index=choice.index, text=choice.text, tokens=choice.tokens)
    return shape.whole(delta, str(choice.completion.finish_reason))


async def _streamed(received: Received[Any], ask: Ask, shape: Shape) -> Response:
    parts, settings = received.parts, received.parts.settings

    async def work(listener: Listener) -> Ending:
        answered = await answer(parts, ask, listener)
        return answered.finish_reasons, ask.usage(answered.choices)

    live = LiveAnswer(work)
    await live.until_begun()  # what cannot begin is refused with a status of its own
    writer = FrameWriter(
        envelope=_envelope(ask, shape, object_name=shape.chunk_name),
        shape=shape,
        num_choices=len(ask.questions),
        includes_usage=received.asked.includes_usage,
    )
    return EventStream(
        live,
        writer,
        translate=partial(as_api_error, request_id=ask.stored.request_id),
        ping_seconds=settings.ping_seconds,
        send_seconds=settings.send_seconds,
    )


def _envelope(ask: Ask, shape: Shape, *, object_name: str) -> dict[str, Any]:
    return {
        "id": f"{shape.id_prefix}{ask.stored.request_id}",
        "object": object_name,
        "created": int(time.time()),
        "model": ask.stored.model_name,
        "system_fingerprint": ask.stored.model_sha256[:8],
    }
