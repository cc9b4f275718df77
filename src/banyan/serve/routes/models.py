"""GET /v1/models: which model answers here, and under which adapters."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.serve.parts import parts_of
from banyan.serve.served_model import ServedModel

router = APIRouter()


@router.get("/v1/models", summary="List the models")
async def models(request: Request) -> Response:
    """List the model that is served, and each of its adapters."""
    return JSONResponse({"object": "list", "data": [describe_model(served) for served in parts_of(request).models]})


@router.get("/v1/models/{name}", summary="Describe a model")
async def model(request: Request, name: str) -> Response:
    """Describe one model, or one adapter."""
    return JSONResponse(describe_model(parts_of(request).choose(name).model))


def describe_model(served: ServedModel) -> dict[str, Any]:
    """Return what is told about a model."""
    facts = served.facts
    return {
        "id": facts.name,
        "object": "model",
        "created": facts.created_at,
        "owned_by": "banyan",
        "sha256": facts.sha256,
        "max_seq_len": facts.max_seq_len,
        "num_parameters": facts.num_parameters,
        "tasks": list(served.tasks),
        **({} if facts.parent is None else {"parent": facts.parent, "adapter": facts.adapter}),
    }
