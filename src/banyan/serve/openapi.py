"""The API's description at /openapi.json, true because it is made from the schemas that check the requests."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from banyan.serve import admin_schemas, run_schemas, schemas, token_schemas
from banyan.serve.answer_schemas import ANSWERS, STREAMED
from banyan.serve.auth import is_public

_REF = "#/components/schemas/{model}"
_BODIES: tuple[type[BaseModel], ...] = (
    schemas.ChatRequest,
    schemas.CompletionRequest,
    schemas.EmbeddingRequest,
    schemas.ImageRequest,
    schemas.TaskRequest,
    token_schemas.TokenizeRequest,
    token_schemas.DetokenizeRequest,
    admin_schemas.NewKeyRequest,
    admin_schemas.ChangeKeyRequest,
    admin_schemas.LoadModelRequest,
    schemas.FeedbackRequest,
    schemas.OutputsQuery,
    schemas.TasksQuery,
    run_schemas.RunsQuery,
    run_schemas.SamplesQuery,
)
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_REFUSAL = {
    "description": "a refusal or failure",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


def takes(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a route that reads its own body."""
    body = {"application/json": {"schema": {"$ref": _REF.format(model=schema.__name__)}}}
    return {"requestBody": {"required": True, "content": body}}


def asks(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a route that reads its own query."""
    properties = schema.model_json_schema(ref_template=_REF)["properties"]
    return {"parameters": [{"name": name, "in": "query", "schema": rule} for name, rule in properties.items()]}


def _answer(method: str, path: str) -> dict[str, Any]:
    """Return the description of what a route answers if all is well."""
    answer = ANSWERS[method, path]
    if answer is None:
        kind = "text/plain" if path == "/metrics" else "application/json"
        return {"description": "done", "content": {kind: {}}}
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": _REF.format(model=answer.__name__)}}}
    if path in STREAMED:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": (answer.__doc__ or "done").strip(), "content": content}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the whole description: routes, bodies, errors, and how to show a key."""
    document = app.openapi()
    answers = [answer for answer in dict.fromkeys(ANSWERS.values()) if answer is not None]
    named: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((body, "validation") for body in _BODIES),
        *((answer, "serialization") for answer in answers),
    ]
    _, definitions = models_json_schema(named, ref_template=_REF)
    components = document.setdefault("components", {})
    components["schemas"] = {**definitions.get("$defs", {}), "Error": _ERROR}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = operation.setdefault("responses", {})
            responses.pop("422", None)
            responses["200"] = _answer(method.upper(), path)
            responses["default"] = _REFUSAL
            operation["security"] = [] if is_public(method.upper(), path) else [{"key": []}]
    return document
