from pathlib import Path

import pytest

from banyan.core.errors import ConfigError
from banyan.serve.model_choice import ModelChoice
from banyan.serve.opening import app_with_models
from banyan.serve.settings import ServerSettings
from banyan.store.sql_store import open_store
from banyan.testing.engine_threads import engine_threads
from banyan.testing.model_directories import save_tiny_model


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    one = save_tiny_model(tmp_path / "m")
    choice = ModelChoice(directory=one, name="a", others={"a": one}, device="cpu")
    before = engine_threads()
    with (
        open_store("sqlite://") as store,
        pytest.raises(ConfigError, match="called 'a'"),
        app_with_models(choice, store, settings=ServerSettings()),
    ):
        pass
    assert engine_threads() <= before
