"""Finding the task that a route needs among those a model was taught."""

from __future__ import annotations

from typing import Any

from banyan.core.registry import did_you_mean
from banyan.infer.sampling import GREEDY, SamplingConfig
from banyan.serve.errors import bad_request, not_found
from banyan.serve.served_model import ServedModel
from banyan.tasks.base import Task


def find_task_of_kind(model: ServedModel, kind: str) -> Task[Any] | None:
    """Return the model's first task of a kind, or None."""
    return next((task for task in model.tasks.values() if task.kind == kind), None)


def task_of_kind(model: ServedModel, kind: str) -> Task[Any]:
    """Return the model's first task of a kind.

    Raises: ApiError 400 if it was not taught any.
    """
    task = find_task_of_kind(model, kind)
    if task is None:
        raise bad_request("task_not_available", f"this model was not trained for {kind}; see GET /v1/tasks")
    return task


def task_named(model: ServedModel, name: str) -> Task[Any]:
    """Return a task by its name.

    Raises: ApiError 404 naming the nearest task.
    """
    task = model.tasks.get(name)
    if task is None:
        raise not_found(f'no task "{name[:100]}"{did_you_mean(name, model.tasks)}', code="task_not_found", param="task")
    return task


def sampling_for_task(model: ServedModel, name: str) -> SamplingConfig:
    """Return how a task answers unless it is asked otherwise; a text that belongs to no task is continued greedily."""
    return model.sampling_for(name) if name in model.tasks else GREEDY
