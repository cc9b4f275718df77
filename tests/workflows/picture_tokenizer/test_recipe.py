"""The recipe of a picture tokenizer is told from others, and settled once for a run and its resumptions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from banyan.core.config import config_from_mapping, write_config
from banyan.core.errors import ConfigError
from banyan.workflows.picture_tokenizer.recipe import (
    PictureTokenizerRecipe,
    is_picture_tokenizer,
    read_picture_recipe,
    settle_picture_recipe,
)
from banyan.workflows.recipe import read_recipe

PLAIN = {"kind": "image_tokenizer", "name": "x", "data": {"train": "cifar10"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text("kind: image_tokenizer\nname: x\ndata: {train: cifar10}\n")
    return path


def test_only_banyan_train_reads_it(path: Path) -> None:
    assert is_picture_tokenizer(path)
    assert read_picture_recipe(path).train.average is not None
    with pytest.raises(ConfigError, match="kind=image_tokenizer is not what this verb runs"):
        read_recipe(path)


def test_a_recipe_without_validation_pictures_holds_some_out(tmp_path: Path) -> None:
    settled = settle_picture_recipe(config_from_mapping(PictureTokenizerRecipe, PLAIN), tmp_path, resume=False)
    assert settled.data.validation_fraction == 0.05
    named = {**PLAIN, "data": {"train": "cifar10", "validation": "cifar10"}}
    settled = settle_picture_recipe(config_from_mapping(PictureTokenizerRecipe, named), tmp_path, resume=False)
    assert settled.data.validation_fraction == 0


def test_a_resumed_run_has_the_steps_that_its_minutes_were_turned_into(tmp_path: Path) -> None:
    recipe = config_from_mapping(PictureTokenizerRecipe, {**PLAIN, "minutes": 5})
    begun = settle_picture_recipe(recipe, tmp_path, resume=False)
    train = dataclasses.replace(begun.train, steps=77, evaluate_every=8)
    write_config(tmp_path / "recipe.yaml", dataclasses.replace(begun, minutes=None, train=train))
    resumed = settle_picture_recipe(recipe, tmp_path, resume=True)
    assert (resumed.minutes, resumed.train.steps, resumed.train.evaluate_every) == (None, 77, 8)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"data": {}}, "data.train is missing"),
        ({"pictures": {"background": [0, 0, 256]}}, "background"),
        ({"pictures": {"image_size": 0}}, "image_size=0"),
        ({"train": {"budget": "30min"}}, "use minutes"),
        ({"evaluation": {"num_shown": 0}}, "num_shown=0"),
        ({"name": "a/b"}, "cannot be a folder's name"),
    ],
)
def test_keys_that_mean_nothing_are_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config_from_mapping(PictureTokenizerRecipe, {**PLAIN, **change})
