from pathlib import Path

import pytest
from pydantic import ValidationError

from banyan.core.errors import ConfigError
from banyan.serve.model_choice import ModelChoice, open_models
from banyan.serve.rules import MAX_MODEL_NAME_CHARACTERS
from banyan.serve.schemas import (
    Body,
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    ImageRequest,
    TaskRequest,
    TasksQuery,
)
from banyan.serve.token_schemas import DetokenizeRequest, TokenizeRequest
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


@pytest.mark.parametrize("name", ["a/b", "two\nlines", "a" * (MAX_MODEL_NAME_CHARACTERS + 1)])
def test_a_name_that_no_address_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        open_models(ModelChoice(directory=save_tiny_model(tmp_path / "m"), device="cpu", name=name))


def refuses_model(body: type[Body], name: str) -> bool:
    try:
        body.model_validate({"model": name})
    except ValidationError as error:
        return any(problem["loc"] == ("model",) for problem in error.errors())
    return False


@pytest.mark.parametrize(
    "body",
    [
        ChatRequest,
        CompletionRequest,
        EmbeddingRequest,
        ImageRequest,
        TaskRequest,
        TasksQuery,
        TokenizeRequest,
        DetokenizeRequest,
    ],
)
def test_a_model_of_the_longest_name_can_be_asked_for(body: type[Body]) -> None:
    assert "model" in body.model_fields
    assert not refuses_model(body, "a" * MAX_MODEL_NAME_CHARACTERS)
    assert refuses_model(body, "a" * (MAX_MODEL_NAME_CHARACTERS + 1))
