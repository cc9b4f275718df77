"""Free text from a model, piece by piece, remembered when it is complete: generate and chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from banyan.core.types import Completion, Prompt
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.store.types import StoredOutput
from banyan.workflows.answer_records import AnswerRecorder

TextListener = Callable[[str], None] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Spoken:
    """What was said, and under which id it is stored."""

    request_id: str
    text: str
    finish_reason: str
    num_prompt_tokens: int
    num_completion_tokens: int


def continue_text(
    model: LoadedModel, text: str, *, sampling: SamplingConfig, recorder: AnswerRecorder, on_text: TextListener = None
) -> Spoken:
    """Go on with a text; `on_text` hears each piece as soon as it is certain."""
    prompt, _ = model.continuation(text)
    return _speak(model, prompt, {"prompt": text}, sampling=sampling, recorder=recorder, on_text=on_text)


def reply(
    model: LoadedModel,
    messages: Sequence[Mapping[str, str]],
    *,
    sampling: SamplingConfig,
    recorder: AnswerRecorder,
    on_text: TextListener = None,
) -> Spoken:
    """Say the assistant's next message; `on_text` hears each piece as soon as it is certain."""
    prompt, _ = model.reply_prompt(messages)
    body = {"messages": [dict(message) for message in messages]}
    return _speak(model, prompt, body, sampling=sampling, recorder=recorder, on_text=on_text)


def _speak(
    model: LoadedModel,
    prompt: Prompt,
    body: Mapping[str, Any],
    *,
    sampling: SamplingConfig,
    recorder: AnswerRecorder,
    on_text: TextListener,
) -> Spoken:
    ticket = model.engine.submit(prompt, sampling, on_text=on_text)
    try:
        completion: Completion = ticket.result()
    finally:
        ticket.cancel()
    text = completion.text or ""
    output = StoredOutput(text=text, finish_reason=completion.finish_reason.value, token_ids=completion.token_ids)
    request_id = recorder.record(
        prompt.task,
        body=body,
        outputs=(output,),
        prompt_token_ids=prompt.token_ids,
        num_completion_tokens=len(completion.token_ids),
        sampling=sampling,
    )
    recorder.wait()
    return Spoken(
        request_id=request_id,
        text=text,
        finish_reason=completion.finish_reason.value,
        num_prompt_tokens=len(prompt),
        num_completion_tokens=len(completion.token_ids),
    )
