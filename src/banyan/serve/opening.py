"""Which models a server holds: opened at its start, and changed for others later without dropping a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from banyan.core.errors import BanyanError, ConfigError
from banyan.core.logging import log_event
from banyan.infer.engine import PREFIX_CACHE_BYTES
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.app import create_app
from banyan.serve.local_model import LocalModel
from banyan.serve.parts import ServerParts
from banyan.serve.settings import ServerSettings
from banyan.store.sql_store import SqlStore

logger = logging.getLogger("banyan.serve")

PREFIX_CACHE_MIB = PREFIX_CACHE_BYTES >> 20  # of each model, where nobody says otherwise


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelChoice:
    """Where the models of a server lie, and how they are opened."""

    directory: Path  # of the one that answers where a request names none
    name: str | None = None  # in the API; None: its folder's
    adapters: Mapping[str, Path] = field(default_factory=dict)  # of that model, by name
    others: Mapping[str, Path] = field(default_factory=dict)  # models beside it, by name
    base: Path | None = None  # where the model of an adapter lies, if `directory` is one and that has moved
    device: str = "auto"
    num_slots: int = 16  # of each model
    prefix_cache_bytes: int = PREFIX_CACHE_BYTES  # of each model, for beginnings of prompts; 0: none
    max_held_tokens: int | None = None  # of each model, in all answers in the making; None: what fits into the slots

    @property
    def how(self) -> dict[str, Any]:
        """How each model is opened."""
        names = ("device", "num_slots", "prefix_cache_bytes", "max_held_tokens")
        return {name: getattr(self, name) for name in names}


def open_models(choice: ModelChoice) -> list[LocalModel]:
    """Open all models and let each answer once, so that the first request waits for nothing; the main one comes first.

    Raises: ConfigError for a name that two of them have; FileError or CheckpointError if one cannot be opened; those
    that had been opened are closed then.
    """
    opened: list[LoadedModel] = []
    try:
        main = load(choice.directory, base=choice.base, **choice.how)
        opened.append(main)
        for adapter, directory in choice.adapters.items():
            main.load_adapter(adapter, directory)
        model = LocalModel(main, name=choice.name)
        models = [model, *(model.under(adapter) for adapter in choice.adapters)]
        for name, directory in choice.others.items():
            opened.append(load(directory, **choice.how))
            models.append(LocalModel(opened[-1], name=name))
        _check_names(models)
        for loaded in opened:
            loaded.generate("a", max_tokens=1)
    except BaseException:
        for loaded in opened:
            loaded.close()
        raise
    return models


def _check_names(models: Sequence[LocalModel]) -> None:
    names = [model.facts.name for model in models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two models are called {twice!r}; requests could not tell them apart.", hint="use --name")


@contextmanager
def app_with_models(choice: ModelChoice, store: SqlStore, *, settings: ServerSettings) -> Iterator[FastAPI]:
    """Open the models and put them behind HTTP; whichever are served in the end are closed."""
    app = _app_with(open_models(choice), store, settings)
    try:
        yield app
    finally:
        for served in app.state.parts.models:
            served.close()


def _app_with(models: Sequence[LocalModel], store: SqlStore, settings: ServerSettings) -> FastAPI:
    # The app alone holds the models when this returns: one that is swapped out later can then be forgotten.
    for model in models:
        register(model, store)
    return create_app(models[0], store, adapters=models[1:], settings=settings)


def register(model: LocalModel, store: SqlStore) -> None:
    """Write a model into the store, before it answers anybody."""
    facts = model.facts
    store.add_model(
        facts.name,
        sha256=facts.sha256,
        tasks=tuple(model.tasks),
        num_parameters=facts.num_parameters,
        max_seq_len=facts.max_seq_len,
    ).result()


async def swap_models(app: FastAPI, choice: ModelChoice) -> bool:
    """Open models beside those that are served, and give them every request that comes from now on.

    Requests that have begun keep the models they have, and those are forgotten, with their threads, when the last one
    has ended. Where a model cannot be opened, nothing changes; False then. Memory must do for both for a while.
    """
    parts = app.state.parts
    assert isinstance(parts, ServerParts)
    try:
        models = await asyncio.to_thread(_open_and_register, choice, parts.store)
    except BanyanError as error:
        log_event(logger, "models_kept", level=logging.ERROR, error=error.message)
        return False
    app.state.parts = replace(parts, model=models[0], adapters=tuple(models[1:]))
    log_event(logger, "models_swapped", model=models[0].facts.name, sha256=models[0].facts.sha256[:12])
    return True


def _open_and_register(choice: ModelChoice, store: SqlStore) -> list[LocalModel]:
    models = open_models(choice)
    for model in models:
        register(model, store)
    return models
