"""/admin/models: which models answer; open one beside them or in the place of one, and take one out."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.core.errors import BanyanError
from banyan.core.logging import log_event
from banyan.serve.admin_schemas import LoadModelRequest
from banyan.serve.auditing import note
from banyan.serve.auth import require_scope
from banyan.serve.errors import bad_request, conflict, not_found
from banyan.serve.openapi import takes
from banyan.serve.parts import parts_of
from banyan.serve.reading import receive
from banyan.serve.routes.models import describe_model
from banyan.serve.swapping import Opened, load_beside, logger, take_out

router = APIRouter()

_SCOPE = "admin"


@router.get("/admin/models", summary="List the models that answer")
async def listed_models(request: Request) -> Response:
    """List the models that answer; the first one answers where a request names none."""
    require_scope(request, _SCOPE)
    return JSONResponse({"object": "list", "data": [describe_model(served) for served in parts_of(request).models]})


@router.post("/admin/models", openapi_extra=takes(LoadModelRequest), summary="Open a model beside the others, or swap")
async def opened_model(request: Request) -> Response:
    """Open a model of the model root; where one of its name answers already, that one is drained and forgotten."""
    received = await receive(request, LoadModelRequest, scope=_SCOPE)
    asked = received.asked
    directory = _inside_root(_opened(request), asked.directory)
    await note(request, "model.load", object_id=asked.name, directory=asked.directory)
    try:
        await load_beside(request.app, asked.name, directory)
    except BanyanError as error:
        # Whole in the log alone: what it says may hold the places of files.
        log_event(logger, "model_not_opened", model=asked.name, error=error.message)
        message = f"{asked.directory} cannot be served as {asked.name}; the log of the server says why"
        raise bad_request("model_not_loadable", message, param="directory") from error
    return JSONResponse(describe_model(parts_of(request).choose(asked.name).model))


@router.delete("/admin/models/{name}", summary="Take a model out")
async def removed_model(request: Request, name: str) -> Response:
    """Give a model no more requests; it is forgotten when those that have begun are answered."""
    require_scope(request, _SCOPE)
    main = parts_of(request).model.facts.name
    _opened(request)
    if name == main:
        raise conflict(f"{main[:100]} answers where a request names no model; open another in its place")
    await note(request, "model.unload", object_id=name[:100])
    if not await take_out(request.app, name):
        raise not_found(code="model_not_found")
    return JSONResponse({"id": name, "object": "model.deleted", "deleted": True})


def _opened(request: Request) -> Opened:
    opened = getattr(request.app.state, "opened", None)
    if not isinstance(opened, Opened) or opened.choice.root is None:
        raise not_found("this server was started without --model-root, so its models are fixed", code="no_model_root")
    return opened


def _inside_root(opened: Opened, named: str) -> Path:
    """Return a folder below the model root; a link that leads out of it is as missing as what is not there."""
    assert opened.choice.root is not None
    root = opened.choice.root.resolve()
    directory = (root / named).resolve()
    if root not in directory.parents or not directory.is_dir():
        raise not_found(f"there is no folder {named} in the model root", code="model_not_found", param="directory")
    return root / named
