"""Which real pictures drawn ones are held against: those the model has not learned from, where there are enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from banyan.core.config import read_config
from banyan.core.errors import DataError, FileError
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.image_generation import ImageGeneration, PictureExample
from banyan.tasks.reading import read_examples
from banyan.workflows.datasets import load_splits
from banyan.workflows.picture_codes import with_copies
from banyan.workflows.recipe import Recipe
from banyan.workflows.sidecars import RECIPE_FILE

_FEWEST = 4  # pictures: precision and recall look at three neighbours


@dataclass(frozen=True, kw_only=True, slots=True)
class RealPictures:
    """The real pictures of a model's recipe."""

    train: Sequence[PictureExample]
    held_out: Sequence[PictureExample]  # test, or validation where there is none; empty where nothing is held out
    against: Sequence[PictureExample]  # what everything is held against
    others: Sequence[PictureExample]  # none of those; as many as are drawn, and it is their wishes that are drawn
    are_held_out: bool = False  # whether the model has learned from none of `against`
    learned: Sequence[PictureExample] = ()  # `train`, and behind it the changed copies that training made of it


def read_real_pictures(model: LoadedModel, task: ImageGeneration, *, num: int, enough: int, seed: int) -> RealPictures:
    """Read the pictures of a model's own recipe, divide them as `divide_real` does, and change them as training did.

    Raises: FileError if the recipe is not known; FileError, DataError if its pictures cannot be found or are too few.
    """
    own = model.directory / RECIPE_FILE
    recipe = read_config(Recipe, own) if own.is_file() else None
    config = next((one for one in recipe.tasks if one.name == task.name), None) if recipe else None
    if recipe is None or config is None:
        raise FileError(f"{model.directory} does not say which pictures task {task.name} was trained on.")
    splits = load_splits(config, seed=recipe.seed)
    train, validation, test = (
        read_examples(task, rows, max_bad_fraction=config.data.max_bad_share).examples
        for rows in (splits.train, splits.validation, splits.test)
    )
    real = divide_real(train, validation, test, num=num, enough=enough, seed=seed)
    assert model.image_tokenizer is not None, "a model that draws has a tokenizer"
    return replace(real, learned=with_copies(train, model.image_tokenizer, recipe.image_tokenizer, seed=recipe.seed))


def divide_real(
    train: Sequence[PictureExample],
    validation: Sequence[PictureExample],
    test: Sequence[PictureExample],
    *,
    num: int,
    enough: int,
    seed: int,
) -> RealPictures:
    """Hold everything against at most `num` held-out pictures; where fewer than `enough` are, against half of all.

    Beside pictures that it knows by heart a model looks too good.
    Raises: DataError if there are fewer than four on a side.
    """
    held_out = test or validation
    rng = np.random.default_rng(seed)
    are_held_out = len(held_out) >= enough
    if are_held_out:
        against, others = (_some(rng, pictures, num) for pictures in (held_out, train))
    else:
        pool = _some(rng, [*train, *validation, *test], 2 * num)
        half = len(pool) // 2
        against, others = pool[:half], pool[half : 2 * half]
    if min(len(against), len(others)) < _FEWEST:
        total = len(train) + len(validation) + len(test)
        raise DataError(
            f"{total} real pictures, of which {num} are to be taken for each side, are too few to be cut into two "
            f"sides; each needs at least {_FEWEST}."
        )
    return RealPictures(train=train, held_out=held_out, against=against, others=others, are_held_out=are_held_out)


def _some(rng: np.random.Generator, pictures: Sequence[PictureExample], num: int) -> list[PictureExample]:
    return [pictures[place] for place in rng.permutation(len(pictures))[:num].tolist()]


def told_of_real(num_real: int, *, are_held_out: bool) -> str:
    """Return which real pictures everything is held against, in words."""
    if are_held_out:
        return f"held against {num_real} real pictures that the model has not learned from"
    return f"held against {num_real} real pictures, training pictures among them, for too few are held out"
