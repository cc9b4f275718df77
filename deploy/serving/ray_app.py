"""Banyan on Ray Serve: replicas of the server over one PostgreSQL, behind Ray's proxy.

    pip install 'banyan-gpt[ray,postgres]'
    export BANYAN_DATABASE=postgresql+psycopg://banyan@db.internal/banyan     # on every node
    banyan db upgrade                                                         # once: replicas change no tables
    banyan keys create laptop                                                 # once: replicas make no keys
    serve run --app-dir deploy/serving ray_app:application model=/models/best replicas=2

The same command with another `model=` gives the replicas that model, without a request lost. What is shared between
replicas and what each counts for itself: docs/guides/serving.md.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from banyan.core.before_torch import PASSIVE_WAITING, REPEATABLE_PRODUCTS

# As the command line does it: an answer must have the bits that `banyan outputs replay` gives it.
os.environ.setdefault(*REPEATABLE_PRODUCTS)
os.environ.setdefault(*PASSIVE_WAITING)

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict
from starlette.types import ASGIApp, Receive, Scope, Send

from banyan.cli.main import flushed_denormals
from banyan.core.errors import ConfigError, missing_extra
from banyan.core.paths import default_database_url
from banyan.infer.embedding import EmbeddingConfig
from banyan.serve.model_choice import ModelChoice
from banyan.serve.opening import app_with_models
from banyan.serve.settings import ServerSettings
from banyan.serve.swapping import swap_models
from banyan.store.database import parse_address
from banyan.store.sql_store import SqlStore, open_store

if TYPE_CHECKING:
    from ray.serve import Application

HEALTH_SECONDS = 10.0  # between two questions whether a replica still answers
MAX_AT_ONCE = 64  # requests answered in one replica; the server in it refuses more, in its own words
MAX_WAITING = 256  # requests that Ray's proxy keeps where every replica has twice as many; more get its own 503


class Arguments(BaseModel):
    """What may stand behind `serve run ray_app:application`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str  # its directory, readable on every node
    name: str | None = None  # in the API; by default its folder's
    replicas: int = 2
    cpus: float = 1.0  # of each replica
    gpus: float = 0.0
    device: str = "auto"
    slots: int = 16


class Replica:
    """One server without a port of its own: Ray brings it requests, and tells it which model to answer with."""

    def __init__(self, *, device: str, slots: int) -> None:
        self._device, self._slots = device, slots
        self._open = ExitStack()
        self._open.enter_context(flushed_denormals())  # the engine's thread inherits it
        self._store: SqlStore = self._open.enter_context(open_store(shared_database(), create=False))
        self._app: FastAPI | None = None
        self._config: dict[str, Any] = {}  # that was asked for and is served

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return what Ray gives the requests to; the model behind it can change."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self._answer(scope, receive, send)

        return app  # a plain function: of a method uvicorn believes that it speaks the second version of ASGI

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or Ray's question whether this process has begun."""
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})
        else:
            assert self._app is not None, "Ray names the model before it brings requests"
            await self._app(scope, receive, send)

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Open a model; another one later takes the place of the first between two requests.

        Where a later one cannot be opened the one before goes on, and the log says why: a replica that failed here
        would be replaced by one that could not open it either.
        Raises: FileError or CheckpointError if the first one cannot be opened.
        """
        if config == self._config:  # Ray asks again where only the number of a replica has changed
            return
        choice = ModelChoice(
            directory=Path(config["model"]), name=config["name"], device=self._device, num_slots=self._slots
        )
        if self._app is None:
            opening = app_with_models(choice, self._store, settings=ServerSettings(max_requests=MAX_AT_ONCE))
            self._app = await asyncio.to_thread(self._open.enter_context, opening)
        elif not await swap_models(self._app, choice):
            return
        self._config = config

    async def check_health(self) -> None:
        """Let the engine read a word beside its answers: it must still turn. A database that is away is no illness."""
        assert self._app is not None, "Ray names the model before it asks for health"
        model = self._app.state.parts.model
        await model.embed(await model.read_texts(["a"], EmbeddingConfig()))

    def __del__(self) -> None:
        """Write what is waiting and let go of model and store; Ray waits for the answers before."""
        if hasattr(self, "_open"):
            self._open.close()


def shared_database() -> str:
    """Return the address in BANYAN_DATABASE.

    Raises: ConfigError unless it is a PostgreSQL, which alone can be written from several machines.
    """
    address = default_database_url()
    if parse_address(address).get_backend_name() != "postgresql":
        raise ConfigError(
            "replicas share one PostgreSQL, and BANYAN_DATABASE names none.",
            hint="export BANYAN_DATABASE=postgresql+psycopg://user@host/name on every node",
        )
    return address


def application(words: Mapping[str, Any]) -> Application:
    """Return what Ray Serve runs, from what stands behind it on the command line (see Arguments).

    Raises: MissingExtraError without Ray; ConfigError without a shared database; ValidationError for other words.
    """
    arguments = Arguments.model_validate(dict(words))
    try:
        from ray import serve  # here, so that a replica can be tried where Ray is not
    except ImportError as error:
        raise missing_extra("ray[serve]", "ray", needed_for="the Ray Serve app") from error
    shared_database()
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name="Banyan",
        num_replicas=arguments.replicas,
        ray_actor_options={"num_cpus": arguments.cpus, "num_gpus": arguments.gpus},
        max_ongoing_requests=2 * MAX_AT_ONCE,
        max_queued_requests=MAX_WAITING,
        user_config={"model": arguments.model, "name": arguments.name},
        health_check_period_s=HEALTH_SECONDS,
        graceful_shutdown_timeout_s=ServerSettings().drain_seconds,
    )
    return deployment.bind(device=arguments.device, slots=arguments.slots)
