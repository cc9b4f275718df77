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
    """Answer 503 once the server has been told to stop."""
    if parts_of(request).admission.is_draining:
        raise unavailable("shutting_down", "this server is shutting down", retry_after_seconds=5)
    return JSONResponse({"status": "ready"})


@router.get("/openapi.json", summary="This description")
async def openapi(request: Request) -> Response:
    """Describe every route."""
    return JSONResponse(describe(request.app))
