"""Drawn pictures are held against what the model has not learned from, where there is enough of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from banyan.core.config import read_mapping
from banyan.core.errors import DataError
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.image_generation import ImageGeneration, PictureExample
from banyan.workflows.real_pictures import RealPictures, divide_real, read_real_pictures, told_of_real
from banyan.workflows.sidecars import RECIPE_FILE

TRAIN, VALIDATION, TEST = (
    [PictureExample(caption=f"{split} {number}") for number in range(num)]
    for split, num in (("train", 60), ("validation", 6), ("test", 30))
)


def divided(
    *, num: int, enough: int = 20, validation: list[PictureExample] = VALIDATION, test: list[PictureExample] = TEST
) -> RealPictures:
    return divide_real(TRAIN, validation, test, num=num, enough=enough, seed=1)


def test_everything_is_held_against_held_out_pictures_where_there_are_enough() -> None:
    real = divided(num=50)
    assert real.are_held_out and sorted(one.caption for one in real.against) == sorted(one.caption for one in TEST)
    assert len(real.others) == 50 and all(one in TRAIN for one in real.others)
    few = divided(num=8)
    assert few.are_held_out and len(few.against) == len(few.others) == 8
    assert few == divided(num=8) and real.held_out == few.held_out == TEST
    assert divided(num=50, enough=6, test=[]).against != [] and divided(num=50, enough=6, test=[]).are_held_out


def test_where_few_are_held_out_all_real_pictures_are_cut_into_two_halves() -> None:
    real = divided(num=1000, enough=31)
    parts = [[one.caption for one in part] for part in (real.against, real.others)]
    assert not real.are_held_out and [len(part) for part in parts] == [48, 48]
    assert sorted(parts[0] + parts[1]) == sorted(one.caption for one in (*TRAIN, *VALIDATION, *TEST))
    assert {caption.split()[0] for caption in parts[0]} == {"train", "validation", "test"}


def test_too_few_on_a_side_are_refused() -> None:
    for enough in (1, 31):
        with pytest.raises(DataError, match="too few"):
            divided(num=3, enough=enough)


def test_the_changed_copies_that_a_model_learned_from_count_as_learned(loaded: LoadedModel, tmp_path: Path) -> None:
    task = loaded.task_of_kind("image_generation")
    assert isinstance(task, ImageGeneration)
    plain = read_real_pictures(loaded, task, num=20, enough=100, seed=0)
    assert list(plain.learned) == list(plain.train) and not plain.are_held_out
    mapping = read_mapping(loaded.directory / RECIPE_FILE)
    mapping["image_tokenizer"] |= {"copies": 2, "augment": {"turn_degrees": 8}}
    (tmp_path / RECIPE_FILE).write_text(yaml.safe_dump(mapping), "utf-8")
    changed = read_real_pictures(dataclasses.replace(loaded, directory=tmp_path), task, num=20, enough=100, seed=0)
    assert list(plain.train) == list(changed.train) == list(changed.learned[: len(plain.train)])
    assert len(changed.learned) == 3 * len(plain.train)
    assert {one.image for one in changed.learned} > {one.image for one in plain.train}


def test_a_reader_is_told_which_pictures_they_were() -> None:
    assert told_of_real(181, are_held_out=True) == "held against 181 real pictures that the model has not learned from"
    assert "training pictures among them" in told_of_real(898, are_held_out=False)
