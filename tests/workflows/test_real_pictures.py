"""Drawn pictures are held against what the model has not learned from, where there is enough of it."""

from __future__ import annotations

import pytest

from banyan.core.errors import DataError
from banyan.tasks.image_generation import PictureExample
from banyan.workflows.real_pictures import RealPictures, divide_real, told_of_real

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


def test_a_reader_is_told_which_pictures_they_were() -> None:
    assert told_of_real(181, are_held_out=True) == "held against 181 real pictures that the model has not learned from"
    assert "training pictures among them" in told_of_real(898, are_held_out=False)
