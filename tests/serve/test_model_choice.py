from pathlib import Path

import pytest

from banyan.core.errors import ConfigError
from banyan.serve.model_choice import ModelChoice, open_models
from banyan.testing.model_directories import save_tiny_model


def test_models_are_opened_with_the_sizes_that_were_chosen(tmp_path: Path) -> None:
    choice = ModelChoice(
        directory=save_tiny_model(tmp_path / "m"),
        device="cpu",
        num_slots=3,
        prefix_cache_bytes=0,
        max_held_tokens=500,
        max_lookup_tokens=3,
    )
    [model] = open_models(choice)
    try:
        prompt, _ = model._loaded.continuation("one tree, a whole forest " * 4)
        engine = model._loaded.engine
        found = [engine.complete([prompt])[0].num_cached_tokens for _ in range(2)]
        assert (found, engine.num_slots) == ([0, 0], 3)
        assert (engine._decoder._max_held_tokens, engine._decoder._max_lookup_tokens) == (500, 3)
    finally:
        model.close()


@pytest.mark.parametrize("name", ["a/b", "two\nlines", "a" * 201])
def test_a_name_that_no_address_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        open_models(ModelChoice(directory=save_tiny_model(tmp_path / "m"), device="cpu", name=name))
