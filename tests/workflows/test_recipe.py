from typing import Any

import pytest

from banyan.core.config import config_from_mapping, read_config, write_config
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.workflows.recipe import MAX_SEED, Recipe, describe, with_steps

TASK = {"name": "area", "kind": "classification"}


def recipe(**changes: Any) -> Recipe:
    return config_from_mapping(Recipe, {"name": "run", "tasks": [TASK], **changes})


def test_a_recipe_that_was_saved_reads_back_the_same(tmp_path: Any) -> None:
    made = recipe(seed=7, minutes=2.5, model={"num_layers": 3}, sampling={"area": {"temperature": 0.5}})
    write_config(tmp_path / "recipe.yaml", made)
    again = read_config(Recipe, tmp_path / "recipe.yaml")
    assert again == made and again.fingerprint == made.fingerprint


def test_the_fingerprint_names_everything_that_was_asked() -> None:
    prints = {recipe(**changes).fingerprint for changes in ({}, {"seed": 1}, {"optimizer": {"learning_rate": 0.1}})}
    assert len(prints) == 3


def test_the_model_follows_from_preset_changes_and_data() -> None:
    given = recipe(model={"preset": "banyan-nano", "num_layers": 3, "dropout": 0.25}, train={"seq_len": 64})
    config = given.resolve_model(vocab_size=320, num_image_codes=8, grid_size=2)
    assert (config.num_layers, config.dropout, config.vocab_size, config.max_seq_len) == (3, 0.25, 320, 64)
    assert (config.num_image_codes, config.grid_size) == (8, 2)


def test_the_context_can_be_longer_than_a_training_row() -> None:
    longer = recipe(model={"max_seq_len": 512}, train={"seq_len": 64})
    assert longer.resolve_model(vocab_size=320, num_image_codes=0, grid_size=0).max_seq_len == 512


def test_settled_steps_take_the_place_of_minutes() -> None:
    settled = with_steps(recipe(minutes=3.0), 40)
    assert (settled.minutes, settled.train.steps) == (None, 40)
    assert describe(settled)["train"]["steps"] == 40


@pytest.mark.parametrize("name", ["demo", "demo-2.5min", "my run", "名字", "x_1"])
def test_names_that_can_be_folders_are_taken(name: str) -> None:
    assert recipe(name=name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "/a", "-x", "a\nb", "a\x00b", "x" * 101])
def test_names_that_would_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a folder's name"):
        recipe(name=name)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tasks": []}, "tasks is empty"),
        ({"tasks": [TASK, TASK]}, "the name 'area' twice"),
        ({"seed": -1}, "seed=-1 must lie between"),
        ({"seed": MAX_SEED + 1}, "must lie between"),
        ({"minutes": 0}, "minutes=0"),
        ({"minutes": float("nan")}, "minutes=nan"),
        ({"minutes": float("inf")}, "minutes=inf"),
        ({"model": {"max_seq_len": 8}, "train": {"seq_len": 9}}, "max_seq_len=8 is shorter than train.seq_len=9"),
        ({"tokenizer": {"vocab_size": 255}}, "at least 256"),
        ({"tokenizer": {"max_training_bytes": 0}}, "max_training_bytes=0"),
        ({"image_tokenizer": {"num_codes": 0}}, "num_codes=0"),
        ({"image_tokenizer": {"image_size": 0}}, "image_size=0"),
        ({"evaluation": {"num_validations": 0}}, "num_validations=0"),
    ],
)
def test_values_that_cannot_be_used_are_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        recipe(**changes)


@pytest.mark.parametrize("mixture", [{"rates": {"aria": 0.5}}, {"schedule": [{"at": 0.5, "rates": {"aria": 0.5}}]}])
def test_a_share_of_a_task_that_is_not_there_is_refused_before_any_data_is_read(mixture: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match="mixture.rates names the task 'aria'; did you mean area"):
        recipe(mixture=mixture)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean banyan-nano"):
        recipe(model={"preset": "banyan-nan"})
    with pytest.raises(UnknownNameError, match="did you mean area"):
        recipe(sampling={"aera": {}})
