"""The app with its models: opened at its start, whichever are served closed at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from banyan.serve.app import create_app
from banyan.serve.model_choice import ModelChoice, open_and_register
from banyan.serve.settings import ServerSettings
from banyan.serve.swapping import Opened
from banyan.store.sql_store import SqlStore


@contextmanager
def app_with_models(choice: ModelChoice, store: SqlStore, *, settings: ServerSettings) -> Iterator[FastAPI]:
    """Open the models and put them behind HTTP; whichever are served in the end are closed."""
    app = _app_with(choice, store, settings)
    app.state.opened = Opened(choice=choice)
    try:
        yield app
    finally:
        for served in app.state.parts.models:
            served.close()


def _app_with(choice: ModelChoice, store: SqlStore, settings: ServerSettings) -> FastAPI:
    # The app alone holds the models when this returns: one that is swapped out later can then be forgotten.
    models = open_and_register(choice, store)
    return create_app(models[0], store, adapters=models[1:], settings=settings)
