"""What a supervisor asks: is the process alive, can it answer, and what can be asked of it?"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.serve.errors import unavailable
from banyan.serve.openapi import describe
from banyan.serve.parts import parts_of

router = APIRouter()


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Response:
    """Answer as long as the event loop turns."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Can it answer?")
async def readyz(request: Request) -> Response:
    """Answer 503 once the server has been told to stop, and while the database takes no writes."""
    parts = parts_of(request)
    if parts.admission.is_draining:
        raise unavailable("shutting_down", "this server is shutting down", retry_after_seconds=5)
    if not await parts.store_probe.takes_writes():
        raise unavailable("storage_unavailable", "answers cannot be stored now; retry in 2 s")
    return JSONResponse({"status": "ready"})


@router.get("/openapi.json", summary="This description")
async def openapi(request: Request) -> Response:
    """Describe every route."""
    state = request.app.state
    if not hasattr(state, "description"):  # made once: anybody may ask for it, as often as they like
        state.description = bytes(JSONResponse(describe(request.app)).body)
    return Response(state.description, media_type="application/json")
