"""GET /v1/tasks and POST /v1/tasks/{name}: every task the model was taught, for one input or a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.core.errors import InputError
from banyan.core.types import Prediction, Prompt, Row
from banyan.serve.answering import Answered, Ask, Choice, Question, answer
from banyan.serve.generation import stored_request
from banyan.serve.incoming_pictures import with_safe_pictures
from banyan.serve.live import until_disconnected
from banyan.serve.openapi import asks, takes
from banyan.serve.parts import ServerParts, parts_of
from banyan.serve.pictures import as_artifact, picture_as_json, picture_sizes
from banyan.serve.prediction_json import prediction_as_json
from banyan.serve.reading import Received, receive
from banyan.serve.sampling_fields import sampling_of, seed_of
from banyan.serve.schemas import TaskRequest, TasksQuery
from banyan.serve.task_lookup import task_named
from banyan.serve.validation import validate_query
from banyan.store.types import StoredOutput
from banyan.tasks.base import Task

router = APIRouter()

_TOLD = ("labels", "source_language", "target_language", "directions", "max_answer_tokens", "max_source_tokens")


@router.get("/v1/tasks", openapi_extra=asks(TasksQuery), summary="List the tasks")
async def tasks(request: Request) -> Response:
    """List what the model can do, or what it can do under the adapter that `?model=` names."""
    parts = parts_of(request).choose(validate_query(TasksQuery, request.query_params).model)
    data = [_describe(task, parts) for task in parts.model.tasks.values()]
    return JSONResponse({"object": "list", "data": data})


@router.post("/v1/tasks/{name}", openapi_extra=takes(TaskRequest), summary="Run a task")
async def run_task(request: Request, name: str) -> Response:
    """Run a task over one input or several and return its predictions in the same order."""
    received = await receive(request, TaskRequest)
    task = task_named(received.parts.model, name)
    ask = await received.worked_out(lambda: _ask(request, _with_safe_pictures(received, task), task))
    answered = await until_disconnected(request, answer(received.parts, ask))
    return JSONResponse(_body(ask, answered, task))


def _describe(task: Task[Any], parts: ServerParts) -> dict[str, Any]:
    spec = task.spec()
    told = {name: spec[name] for name in _TOLD if spec.get(name)}
    if task.head is not None and task.head.labels and "labels" not in told:
        told["labels"] = list(task.head.labels)
    if task.kind == "image_generation":
        told["sizes"] = list(picture_sizes(parts.model.facts.image_size or 0))
    return {"name": task.name, "object": "task", "kind": task.kind, "metric": task.chosen_metric, **told}


def _with_safe_pictures(received: Received[TaskRequest], task: Task[Any]) -> Received[TaskRequest]:
    """Re-encode the pictures that questions hold, also in what the store will keep.

    Raises: InputError for a picture that may not be opened, or is needed and not there.
    """
    safe = [with_safe_pictures(task, given) for given in received.asked.all_inputs]
    if safe == received.asked.all_inputs:
        return received
    changed = {"input": safe[0]} if received.asked.inputs is None else {"inputs": safe}
    asked = received.asked.model_copy(update=changed)
    return dataclasses.replace(received, asked=asked, body={**received.body, **changed})


def _ask(request: Request, received: Received[TaskRequest], task: Task[Any]) -> Ask:
    asked, model = received.asked, received.parts.model
    seed = seed_of(asked)
    read = [_read(task, given, received.parts) for given in asked.all_inputs]
    prompts, sources = [prompt for prompt, _ in read], [source for _, source in read]
    base = model.sampling_for(task.name)
    draw = partial(sampling_of, asked, base, seed=seed, max_tokens=asked.max_tokens, stop=asked.stop or ())
    questions = tuple(Question(prompt=prompt, sampling=draw(choice=n)) for n, prompt in enumerate(prompts))
    stored = stored_request(request, received, questions, prompts=prompts, seed=seed, sources=sources)

    def as_outputs(choices: Sequence[Choice]) -> list[StoredOutput]:
        return [_output(choice, model.read(choice.prompt, choice.completion)) for choice in choices]

    return Ask(stored=stored, questions=questions, as_outputs=as_outputs, max_seconds=asked.timeout_seconds)


def _read(task: Task[Any], given: str | Row, parts: ServerParts) -> tuple[Prompt, Row]:
    """Return the question as the task renders it, which is how the model learned it, and as a row of the task."""
    try:
        question = task.read_question(given)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"task {task.name} cannot read a record of this shape.") from error
    return parts.model.prompt(task.name, question.example), question.row


def _output(choice: Choice, prediction: Prediction) -> StoredOutput:
    return StoredOutput(
        choice_index=choice.index,
        text=prediction.text,
        finish_reason=str(prediction.finish_reason),
        prediction=prediction_as_json(prediction),
        token_ids=choice.completion.token_ids,
        artifacts=() if prediction.image is None else (as_artifact(prediction.image),),
    )


def _body(ask: Ask, answered: Answered, task: Task[Any]) -> dict[str, Any]:
    return {
        "id": ask.stored.request_id,
        "object": "task.predictions",
        "model": ask.stored.model_name,
        "task": task.name,
        "kind": task.kind,
        "predictions": [_prediction(output) for output in answered.outputs],
        "usage": ask.usage(answered.choices).as_json(),
    }


def _prediction(output: StoredOutput) -> dict[str, Any]:
    picture = {"image": picture_as_json(output.artifacts[0])} if output.artifacts else {}
    return {"index": output.choice_index, **(output.prediction or {}), **picture}
