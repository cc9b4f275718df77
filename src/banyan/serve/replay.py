"""Gives a stored answer again: asks the same model the same request with the same seed, and compares every byte.

A request that came over HTTP takes the way it took then, through a server of its own that nobody else can reach. One
that a command asked is asked as that command does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from banyan.core.errors import CheckpointError, InputError
from banyan.runtime.loaded_model import LoadedModel
from banyan.serve.app import create_app
from banyan.serve.command_replay import answer_command
from banyan.serve.in_process import post
from banyan.serve.local_model import LocalModel
from banyan.serve.settings import ServerSettings
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import RequestState, StoredExchange, StoredOutput, StoredRequest

_COMPARED = ("text", "finish_reason", "token_ids", "prediction")
_LEFT_OUT = ("stream", "stream_options", "timeout_seconds")  # fields that change nothing in an answer that is given
_NO_LIMIT_SECONDS = 86_400.0  # this machine may be slower than the one that answered


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A stored answer and the same one given again."""

    request_id: str
    num_outputs: int
    differences: tuple[str, ...]  # what differs, by choice and name; empty: nothing

    @property
    def is_same(self) -> bool:
        """Whether both agree in every byte."""
        return not self.differences


class Replayer:
    """Answers stored requests again with one model; use it as a context manager."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._model = LocalModel(loaded, max_wait_seconds=_NO_LIMIT_SECONDS)
        self._store: SqlStore | None = None
        self._app: FastAPI | None = None

    def __enter__(self) -> Replayer:
        self._store = open_store("sqlite://")
        settings = ServerSettings(needs_key=False, answer_seconds=_NO_LIMIT_SECONDS)
        self._app = create_app(self._model, self._store, settings=settings)
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    def replay(self, exchange: StoredExchange) -> Replay:
        """Give a stored answer again and compare.

        Raises: CheckpointError if another model gave it; InputError if it was never completed, or what was asked is
        not stored in full.
        """
        return asyncio.run(self.replay_beside_others(exchange))

    async def replay_beside_others(self, exchange: StoredExchange) -> Replay:
        """Do as `replay` does, in an event loop in which other answers are given at the same time."""
        check_replayable(exchange, model_sha256=self._loaded.sha256)
        assert exchange.answer is not None
        request = exchange.request
        if request.endpoint.startswith("/"):
            again = await self._over_http(request)
        else:
            again = await asyncio.to_thread(answer_command, self._loaded, request)
        return Replay(
            request_id=request.request_id,
            num_outputs=len(exchange.answer.outputs),
            differences=tuple(differences(exchange.answer.outputs, again)),
        )

    async def _over_http(self, request: StoredRequest) -> Sequence[StoredOutput]:
        assert self._store is not None and self._app is not None, "Replayer is used as a context manager"
        body = {name: value for name, value in request.body.items() if name not in _LEFT_OUT}
        if "model" in body:
            body["model"] = self._model.facts.name  # it may have been served under another name
        if request.seed is not None and request.endpoint != "/v1/embeddings":
            body["seed"] = request.seed
        headers, answer = await post(self._app, request.endpoint, body)
        found = None if "error" in answer else self._store.queries.show(headers["x-request-id"])
        if found is None or found.answer is None:
            message = answer.get("error", {}).get("message", "it was not answered")
            raise InputError(f"request {request.request_id} cannot be asked again: {message}")
        return found.answer.outputs


def check_replayable(exchange: StoredExchange, *, model_sha256: str) -> None:
    """Refuse what cannot be given again.

    Raises: as `Replayer.replay`.
    """
    request = exchange.request
    if exchange.state is not RequestState.COMPLETED or exchange.answer is None:
        raise InputError(
            f"request {request.request_id} is {exchange.state}; only completed answers can be given again."
        )
    if request.model_sha256 != model_sha256:
        raise CheckpointError(
            f"request {request.request_id} was answered by {request.model_name} ({request.model_sha256[:12]}), and "
            f"this model is {model_sha256[:12]}; another model gives another answer.",
            hint="name the directory of the one that answered: banyan outputs replay ID MODEL",
        )
    if not request.body or "<picture>" in json.dumps(request.body):
        raise InputError(f"request {request.request_id} is not stored in full, so it cannot be asked again.")


def differences(stored: Sequence[StoredOutput], again: Sequence[StoredOutput]) -> list[str]:
    """Name everything in which two answers to one request differ."""
    if len(stored) != len(again):
        return [f"{len(stored)} choices then, {len(again)} now"]
    found = []
    for one, other in zip(stored, again, strict=True):
        # An earlier version kept no log-probabilities of texts; what was not kept cannot differ.
        names = [name for name in _COMPARED if name != "prediction" or one.prediction is not None]
        unlike = [name for name in names if _as_json(getattr(one, name)) != _as_json(getattr(other, name))]
        if [artifact.sha256 for artifact in one.artifacts] != [artifact.sha256 for artifact in other.artifacts]:
            unlike.append("artifacts")
        found += [f"choice {one.choice_index}: {name}" for name in unlike]
    return found


def _as_json(value: Any) -> Any:
    """Return a value as the database gives it back."""
    return json.loads(json.dumps(value, default=dict))
