from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.serve.local_model import LocalModel
from banyan.store.sql_store import SqlStore, open_store
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.serving import RunningServer, running_server

CONTEXT = 192  # tokens the tiny model can address


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny", max_seq_len=CONTEXT)


@pytest.fixture(scope="session")
def loaded(model_directory: Path) -> Iterator[LoadedModel]:
    with load(model_directory, device="cpu", num_slots=4) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def model(loaded: LoadedModel) -> LocalModel:
    return LocalModel(loaded)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'banyan.db'}") as store:
        yield store


@pytest.fixture(scope="session")
def server(model: LocalModel, store: SqlStore) -> Iterator[RunningServer]:
    with running_server(model, store) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client
