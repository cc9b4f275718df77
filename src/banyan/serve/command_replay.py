"""What predict, generate, chat and draw answered, asked again from what they stored."""

from __future__ import annotations

from dataclasses import replace

from banyan.core.config import config_from_mapping
from banyan.core.errors import InputError
from banyan.core.hashing import hash_token_ids
from banyan.core.types import Completion, Prompt
from banyan.infer.randomness import derive_seed
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.pictures import as_artifact
from banyan.store.export import prediction_to_json
from banyan.store.types import StoredOutput, StoredRequest

_SPOKEN = ("generate", "chat")  # commands whose answers are stored as they were written, unread by a task


def answer_command(loaded: LoadedModel, request: StoredRequest) -> list[StoredOutput]:
    """Ask what a command asked, and return what it would store.

    Raises: InputError if the question is read otherwise now than then.
    """
    prompt = _prompt(loaded, request)
    if hash_token_ids([prompt.token_ids]) != request.prompt_sha256:
        raise InputError(f"request {request.request_id} is read otherwise now: its prompt has other tokens than then.")
    sampling = config_from_mapping(SamplingConfig, request.params, source=f"request {request.request_id}")
    samplings = [_nth(sampling, choice) for choice in range(request.num_choices)]
    completions = loaded.engine.complete([prompt] * request.num_choices, samplings)
    is_spoken = request.endpoint in _SPOKEN
    read = _as_written if is_spoken else _as_read
    return [read(loaded, prompt, completion, choice) for choice, completion in enumerate(completions)]


def _nth(sampling: SamplingConfig, choice: int) -> SamplingConfig:
    return replace(sampling, seed=derive_seed(sampling.seed, choice))


def _prompt(loaded: LoadedModel, request: StoredRequest) -> Prompt:
    body = dict(request.body)
    if request.endpoint == "generate":
        return loaded.continuation(body["prompt"])[0]
    if request.endpoint == "chat":
        return loaded.reply_prompt(body["messages"])[0]
    task = loaded.task(request.task)
    if request.endpoint == "draw":
        return loaded.prompt(task.name, task.example_from_text(body["prompt"]))
    is_typed = list(body) == ["text"]
    example = task.example_from_text(body["text"]) if is_typed else task.parse(body, with_answer=False)
    return loaded.prompt(task.name, example)


def _as_written(_: LoadedModel, __: Prompt, completion: Completion, choice: int) -> StoredOutput:
    return StoredOutput(
        choice_index=choice,
        text=completion.text or "",
        finish_reason=completion.finish_reason.value,
        token_ids=completion.token_ids,
    )


def _as_read(loaded: LoadedModel, prompt: Prompt, completion: Completion, choice: int) -> StoredOutput:
    prediction = loaded.read(prompt, completion)
    return StoredOutput(
        choice_index=choice,
        text=prediction.text,
        finish_reason=prediction.finish_reason.value,
        prediction=prediction_to_json(prediction),
        artifacts=() if prediction.image is None else (as_artifact(prediction.image),),
    )
