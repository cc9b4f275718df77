"""Which answer is judged, and whether its task could learn a correction: better said now than found out later."""

from __future__ import annotations

from typing import Any

from banyan.core.errors import DataError, InputError
from banyan.core.types import Row
from banyan.serve.errors import bad_request
from banyan.serve.parts import ServerParts
from banyan.store.dataset_export import row_of_answer
from banyan.store.types import StoredExchange, StoredFeedback
from banyan.tasks.base import Task
from banyan.tasks.question_answering import QuestionAnswering

_RULES = {
    "tagging": 'it takes a JSON list, one tag for each token or {"start", "end", "label"} for each entity',
    "question_answering": "it takes a part of the context, letter for letter",
}


def judged_index(exchange: StoredExchange, index: int | None) -> int:
    """Return which answer of a request is judged; where there is only one, nobody needs to say so.

    Raises: ApiError 400 if several are there and none is named, or one that is not there.
    """
    last = exchange.request.num_choices - 1
    if index is None and last > 0:
        message = f"index is required: the request has {last + 1} answers, counted from 0 to {last}; name one of them"
        raise bad_request("missing_field", message, param="index")
    if index is not None and index > last:
        allowed = f"between 0 and {last}" if last else "0: the request has one answer"
        raise bad_request("out_of_range", f"index must be {allowed}, got {index}", param="index")
    return index or 0


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
    index = given.choice_index or 0
    if task is None or row_of_answer(exchange, index) is None:
        return
    if not _can_learn(task, row_of_answer(exchange, index, correction=given.correction)):
        labels = tuple(task.spec().get("labels", ()))
        rule = f"its labels are {', '.join(labels)}" if labels else "it needs the answer that was due"
        message = f"correction is nothing that task {task.name} can learn; {_RULES.get(task.kind, rule)}"
        raise bad_request("invalid_value", message, param="correction")


def _task_of(parts: ServerParts, exchange: StoredExchange) -> Task[Any] | None:
    """Return the task that answered, if its model is still served."""
    request = exchange.request
    named = (model for model in parts.models if model.facts.name == request.model_name)
    return next((model.tasks.get(request.task) for model in named), None)


def _can_learn(task: Task[Any], row: Row | None) -> bool:
    if row is None:
        return False
    if task.has_pictures:  # which lie in files only when a training set is written
        return task.kind != "picture_classification" or row["label"] in task.spec()["labels"]
    try:
        task.parse(row)
    except (DataError, InputError):
        return False
    return True
