"""Checks a parsed body against its schema and says in one sentence what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import QueryParams

from banyan.serve.errors import ApiError, bad_request
from banyan.serve.rules import show, show_content
from banyan.serve.strict_json import check_text

M = TypeVar("M", bound=BaseModel)

_NUMBERS = ("limit", "step")  # parameters of a query that are integers
_CONTENT = frozenset({"messages", "prompt", "input", "inputs", "comment", "correction", "user", "choices", "stop"})
_KINDS = {
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "an array",
    "tuple_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def validate(schema: type[M], body: Mapping[str, Any]) -> M:
    """Return the body as a checked, frozen request.

    Raises: ApiError 400 for the first thing that is wrong; a field we do not know comes before all others, since the
    wrong name is often the cause of the rest.
    """
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        raise _as_api_error(first, schema) from None


def validate_query(schema: type[M], parameters: QueryParams) -> M:
    """Return the parameters behind a path's question mark as a checked, frozen query.

    Raises: ApiError 400, also for a parameter that is given twice.
    """
    values: dict[str, Any] = {}
    for name, text in parameters.multi_items():
        if name in values:
            raise bad_request("duplicate_key", f'duplicate parameter "{name[:70]}"')
        check_text(text, name)
        values[name] = int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) and name in _NUMBERS else text
    return validate(schema, values)


def _as_api_error(problem: ErrorDetails, schema: type[BaseModel]) -> ApiError:
    path = field_path(problem["loc"])
    kind = problem["type"]
    if kind == "extra_forbidden":
        message = f'unknown field "{path}"{_suggestion(problem["loc"], schema)}'
        return bad_request("unknown_field", message, param=path)
    if kind == "missing":
        return bad_request("missing_field", f'"{path}" is required', param=path)
    if "sentence" in problem.get("ctx", {}):
        return bad_request(kind, f"{path} {problem['ctx']['sentence']}".strip(), param=path or None)
    expected = _KINDS.get(kind, "of another type")
    shown = show_content(problem["input"]) if _CONTENT & set(problem["loc"]) else show(problem["input"])
    return bad_request("invalid_type", f"{path} must be {expected}, got {shown}", param=path)


def field_path(location: tuple[int | str, ...]) -> str:
    """Write a place in a body as a programmer would: messages[0].content."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _suggestion(location: tuple[int | str, ...], schema: type[BaseModel]) -> str:
    name = str(location[-1])
    known = _field_names(schema, location[:-1])
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f' (did you mean "{nearest[0]}"?)' if nearest else ""


def _field_names(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the names a schema has at a place of the body, as far as its annotations tell."""
    current: Any = schema
    for part in location:
        if isinstance(part, str):
            current = current.model_fields[part].annotation
        current = _model_inside(current)
        if current is None:
            return []
    return list(current.model_fields)


def _model_inside(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_inside(part) for part in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)
