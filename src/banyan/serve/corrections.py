"""Whether the task which answered could learn a correction: better said at once than found out in a training set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from banyan.core.errors import DataError, InputError
from banyan.serve.errors import bad_request
from banyan.serve.parts import ServerParts
from banyan.store.dataset_export import dataset_row
from banyan.store.types import StoredExchange, StoredFeedback
from banyan.tasks.base import Task
from banyan.tasks.question_answering import QuestionAnswering

_RULES = {
    "tagging": 'it takes a JSON list, one tag for each token or {"start", "end", "label"} for each entity',
    "question_answering": "it takes a part of the context, letter for letter",
}


def check_correction(parts: ServerParts, exchange: StoredExchange, given: StoredFeedback) -> None:
    """Refuse a correction from which no row can be made, where the answer itself would be one.

    Raises: ApiError 400; it does not repeat what somebody wrote.
    """
    if given.correction is None:
        return
    task = _task_of(parts, exchange)
    if not given.correction.strip():
        if given.correction or not (isinstance(task, QuestionAnswering) and task.may_be_empty):
            message = 'correction must not be empty; "" says that a question has no answer, to a task that knows such'
            raise bad_request("empty_input", message, param="correction")
        return
    if task is None or dataset_row(replace(exchange, feedback=())) is None:
        return
    if not _can_learn(task, exchange, given):
        labels = tuple(task.spec().get("labels", ()))
        rule = f"its labels are {', '.join(labels)}" if labels else "it needs the answer that was due"
        message = f"correction is nothing that task {task.name} can learn; {_RULES.get(task.kind, rule)}"
        raise bad_request("invalid_value", message, param="correction")


def _task_of(parts: ServerParts, exchange: StoredExchange) -> Task[Any] | None:
    """Return the task that answered, if its model is still served."""
    request = exchange.request
    named = (model for model in parts.models if model.facts.name == request.model_name)
    return next((model.tasks.get(request.task) for model in named), None)


def _can_learn(task: Task[Any], exchange: StoredExchange, given: StoredFeedback) -> bool:
    row = dataset_row(replace(exchange, feedback=(given,)))
    if row is None:
        return False
    if task.has_pictures:  # which lie in files only when a training set is written
        return task.kind != "picture_classification" or row["label"] in task.spec()["labels"]
    try:
        task.parse(row)
    except (DataError, InputError):
        return False
    return True
