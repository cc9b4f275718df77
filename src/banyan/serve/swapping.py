"""Changes the models of a server for others without dropping a request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastapi import FastAPI

from banyan.core.errors import BanyanError, ConfigError
from banyan.core.logging import log_event
from banyan.serve.model_choice import ModelChoice, open_and_register
from banyan.serve.parts import ServerParts
from banyan.serve.served_model import ServedModel

logger = logging.getLogger("banyan.serve")


@dataclass(slots=True)
class Opened:
    """Which models an app serves now, and who changes them: one at a time."""

    choice: ModelChoice
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


async def reload_models(app: FastAPI) -> bool:
    """Do what `swap_models` does with the models that are served, for they may have been replaced on disk."""
    return await swap_models(app, app.state.opened.choice)


async def swap_models(app: FastAPI, choice: ModelChoice) -> bool:
    """Open models beside those that are served, and give them every request that comes from now on.

    Requests that have begun keep the models they have, and those are forgotten, with their threads, when the last one
    has ended. Where a model cannot be opened, nothing changes; False then. Memory must do for both for a while.
    """
    opened: Opened = app.state.opened
    async with opened.lock:
        try:
            models = await asyncio.to_thread(open_and_register, choice, app.state.parts.store)
        except BanyanError as error:
            log_event(logger, "models_kept", level=logging.ERROR, error=error.message)
            return False
        _serve(app, models, choice)
    return True


async def load_beside(app: FastAPI, name: str, directory: Path) -> None:
    """Open one model and serve it under a name; the one that has the name now is swapped out as by `swap_models`.

    Raises: ConfigError if an adapter has the name; FileError or CheckpointError if the model, or with it one of the
    adapters that lie on it, cannot be opened. Nothing changes then.
    """
    opened: Opened = app.state.opened
    async with opened.lock:
        parts: ServerParts = app.state.parts
        is_main = name == parts.model.facts.name
        choice = opened.choice
        _check_free(parts, name)
        alone = replace(choice, directory=directory, name=name, base=None, others={})
        if not is_main:
            alone = replace(alone, adapters={})
        models = await asyncio.to_thread(open_and_register, alone, parts.store)
        if is_main:
            others = [model for model in parts.adapters if model.facts.name in choice.others]
            _serve(app, [*models, *others], replace(alone, others=choice.others))
        else:
            kept = [model for model in parts.models if model.facts.name != name]
            _serve(app, [*kept, *models], replace(choice, others={**choice.others, name: directory}))


async def take_out(app: FastAPI, name: str) -> bool:
    """Serve a model that lies beside the main one no more; requests that have begun keep it. False: there is none."""
    opened: Opened = app.state.opened
    async with opened.lock:
        parts: ServerParts = app.state.parts
        if name not in opened.choice.others:
            return False
        others = {other: directory for other, directory in opened.choice.others.items() if other != name}
        left = [model for model in parts.models if model.facts.name != name]
        _serve(app, left, replace(opened.choice, others=others))
    return True


def _check_free(parts: ServerParts, name: str) -> None:
    if any(name in (model.facts.name, model.facts.adapter) for model in parts.models if model.facts.parent):
        raise ConfigError(f"an adapter is called {name!r}; requests could not tell the model from it.")


def _serve(app: FastAPI, models: Sequence[ServedModel], choice: ModelChoice) -> None:
    """Give models every request that comes from now on."""
    app.state.parts = replace(app.state.parts, model=models[0], adapters=tuple(models[1:]))
    app.state.opened.choice = choice
    log_event(logger, "models_swapped", model=models[0].facts.name, sha256=models[0].facts.sha256[:12])
