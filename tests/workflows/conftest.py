"""The tiny run's best model, ready to answer, and a store of its own for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.store.queries import RequestFilter, StoreQueries
from banyan.store.sql_store import open_database
from banyan.store.types import StoredExchange
from banyan.testing.material import Gatherer
from banyan.testing.transfer_runs import TransferRuns
from banyan.workflows.training import TrainingOutcome


@pytest.fixture(scope="session")
def loaded(tiny_run: TrainingOutcome) -> Iterator[LoadedModel]:
    """A model that was taught all eight kinds of task."""
    with load(tiny_run.run_directory / "best") as model:
        yield model


@pytest.fixture(scope="session")
def transfer_runs(tmp_path_factory: pytest.TempPathFactory) -> TransferRuns:
    """A folder with a tiny trained parent in it, and rows for its children."""
    runs = TransferRuns(tmp_path_factory.mktemp("transfer"))
    runs.parent()
    return runs


@pytest.fixture
def gather(tmp_path: Path) -> Gatherer:
    """Gathers the material of rows that a test writes."""
    return Gatherer(tmp_path)


@pytest.fixture
def address(tmp_path: Path) -> str:
    """Where this test stores."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def stored(address: str) -> Stored:
    """What this test has stored."""
    return Stored(address)


class Stored:
    """Reads a database anew each time it is asked."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self) -> list[StoredExchange]:
        """Return every request, the oldest first."""
        database = open_database(self._address)
        try:
            return StoreQueries(database).newest(RequestFilter(limit=1000))[::-1]
        finally:
            database.close()
