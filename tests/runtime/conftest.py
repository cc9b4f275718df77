from collections.abc import Iterator
from pathlib import Path

import pytest

from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.testing.model_directories import save_tiny_model


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def model(tiny_directory: Path) -> Iterator[LoadedModel]:
    with load(tiny_directory, device="cpu", num_slots=4) as loaded:
        yield loaded
