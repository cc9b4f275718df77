"""The application: every route, behind the frame and the key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from banyan.serve.admission import Admission
from banyan.serve.auth import RequireKey
from banyan.serve.errors import ApiError, not_found
from banyan.serve.idempotency import AlreadyAnswered, IdempotentAnswers, replay
from banyan.serve.metrics import Metrics
from banyan.serve.parts import ServerParts
from banyan.serve.quotas import Quotas
from banyan.serve.readiness import StoreProbe
from banyan.serve.recording import Recorder
from banyan.serve.request_frame import RequestFrame, error_response
from banyan.serve.routes import (
    admin_keys,
    admin_models,
    chat,
    completions,
    embeddings,
    health,
    images,
    metrics,
    models,
    outputs,
    page,
    runs,
    tasks,
    tokens,
)
from banyan.serve.served_model import ServedModel
from banyan.serve.settings import ServerSettings
from banyan.store.sql_store import SqlStore

VERSION = "1"
_ABOUT = (
    "Every answer carries `X-Request-Id`, and one that is stored `X-Content-Stored`. Chat, completions, embeddings, "
    "pictures and tasks take the header `Idempotency-Key` (1-128 visible ASCII characters): the second asking gets the "
    "first answer."
)
_ROUTERS = (
    chat,
    completions,
    embeddings,
    images,
    tasks,
    tokens,
    models,
    outputs,
    runs,
    metrics,
    admin_keys,
    admin_models,
    health,
    page,
)
_Handler = Callable[[Request, Exception], Awaitable[Response]]


def create_app(
    model: ServedModel,
    store: SqlStore,
    *,
    adapters: Sequence[ServedModel] = (),
    settings: ServerSettings | None = None,
) -> FastAPI:
    """Put a model, as it is and under its adapters, and a store behind HTTP.

    The caller keeps them and closes model and store after the app has ended.
    """
    settings, figures = settings or ServerSettings(), Metrics()
    app = FastAPI(
        title="Banyan",
        version=VERSION,
        description=_ABOUT,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,  # served by our own route, completed
        redirect_slashes=False,
        middleware=[
            Middleware(RequestFrame, settings=settings, metrics=figures),
            Middleware(RequireKey, store=store, settings=settings),
            Middleware(IdempotentAnswers),
        ],
        exception_handlers={ApiError: _refuse, HTTPException: _refuse_route, AlreadyAnswered: replay},
    )
    app.state.parts = ServerParts(
        model=model,
        adapters=tuple(adapters),
        store=store,
        recorder=Recorder(store, progress_seconds=settings.progress_seconds),
        admission=Admission(max_requests=settings.max_requests),
        settings=settings,
        quotas=Quotas(store.database),
        metrics=figures,
        store_probe=StoreProbe(store),
    )
    for module in _ROUTERS:
        app.router.routes.extend(module.router.routes)  # one flat list, so that a test can walk it
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _refuse_route(_: Request, error: Exception) -> Response:
    """Say in our shape what the router says about paths and methods."""
    assert isinstance(error, HTTPException)
    if error.status_code != 405:
        return error_response(not_found())
    allowed = (error.headers or {}).get("Allow", "")
    problem = ApiError(405, "method_not_allowed", f"use {allowed}", headers={"Allow": allowed})
    return error_response(problem)
