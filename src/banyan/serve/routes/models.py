"""GET /v1/models: which model answers here."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.serve.errors import not_found
from banyan.serve.parts import parts_of
from banyan.serve.served_model import ServedModel

router = APIRouter()


@router.get("/v1/models", summary="List the models")
async def models(request: Request) -> Response:
    """List the one model that is served."""
    return JSONResponse({"object": "list", "data": [_describe(parts_of(request).model)]})


@router.get("/v1/models/{name}", summary="Describe a model")
async def model(request: Request, name: str) -> Response:
    """Describe one model."""
    served = parts_of(request).model
    if name != served.facts.name:
        raise not_found(f'model "{name[:100]}" is not available; see GET /v1/models', code="model_not_found")
    return JSONResponse(_describe(served))


def _describe(served: ServedModel) -> dict[str, Any]:
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
    }
