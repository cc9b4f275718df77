"""The form an answer must have, as a request writes it: `response_format` of the OpenAI protocol, and our `choices`."""

from __future__ import annotations

import json
from typing import Any

from pydantic import WithJsonSchema

from banyan.core.errors import ConfigError, InputError
from banyan.infer.forms.form import MAX_CHOICES, form_of
from banyan.infer.sampling import SamplingConfig
from banyan.serve.rules import refuse, show, show_content

ANY_OBJECT = '{"type": "object"}'
ResponseFormat = WithJsonSchema(
    {
        "type": "object",
        "properties": {
            "type": {"enum": ["text", "json_object", "json_schema"]},
            "json_schema": {"type": "object", "properties": {"name": {"type": "string"}, "schema": {"type": "object"}}},
        },
        "required": ["type"],
    }
)


def json_schema_of(value: Any) -> str | None:
    """Return the schema that a response format asks for, as text; None where it asks for none.

    Raises: a refusal for another format, or for a schema that is too large or says what cannot be promised: it is made
    into a grammar here, before any work on the request begins.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return ANY_OBJECT
    if kind != "json_schema":
        shown = show(kind or value)
        raise refuse("unsupported_value", f"must be of type text, json_object or json_schema, got {shown}")
    wrapped = value.get("json_schema")
    schema = wrapped.get("schema") if isinstance(wrapped, dict) else None
    if not isinstance(schema, dict):
        raise refuse("invalid_schema", "needs an object at json_schema.schema")
    text = json.dumps(schema, ensure_ascii=False)
    try:
        form_of(SamplingConfig(json_schema=text))
    except InputError as error:
        raise refuse("invalid_schema", f"cannot be kept to: {error.message}") from error
    return text


def choices_of(value: Any) -> tuple[str, ...]:
    """Return the texts of which the answer is one.

    Raises: a refusal for anything but different texts, none of them empty.
    """
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise refuse("invalid_type", f"must be an array of texts, got {show_content(value)}")
    if not 1 <= len(value) <= MAX_CHOICES:
        raise refuse("out_of_range", f"must have 1 to {MAX_CHOICES} texts, got {len(value)}")
    try:
        form_of(SamplingConfig(choices=tuple(value)))
    except (ConfigError, InputError) as error:
        raise refuse("invalid_value", f"cannot be used: {error.message}") from error
    return tuple(value)
