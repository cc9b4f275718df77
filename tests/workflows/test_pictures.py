import random
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import ConfigError, DataError, FileError
from banyan.core.types import Row
from banyan.tasks.config import TaskConfig, TaskDataConfig
from banyan.tokenizers.images import ImageTokenizer, save_image_tokenizer
from banyan.tokenizers.palette import Palette
from banyan.workflows.pictures import draws, read_pictures, train_image_tokenizer
from banyan.workflows.recipe import ImageTokenizerRecipe

DRAW = TaskConfig(name="draw", kind="image_generation")
READ = TaskConfig(name="read", kind="classification")


def picture(seed: int, *, size: int = 4, channels: int = 1) -> Row:
    pixels = list(random.Random(seed).randbytes(size * size * channels))
    return {"image": {"width": size, "height": size, "channels": channels, "pixels": pixels}, "text": "x"}


def train(tmp_path: Path, rows: list[Row], **recipe: Any) -> ImageTokenizer | None:
    options = ImageTokenizerRecipe(**{"num_codes": 8, **recipe})
    return train_image_tokenizer({"draw": rows, "read": []}, [READ, DRAW], options, tmp_path, seed=0)


def test_only_drawing_tasks_draw() -> None:
    assert draws(DRAW) and not draws(READ)


def test_a_recipe_without_pictures_needs_no_image_tokenizer(tmp_path: Path) -> None:
    assert train_image_tokenizer({"read": [{"text": "x"}]}, [READ], ImageTokenizerRecipe(), tmp_path, seed=0) is None


def test_the_tokenizer_suits_the_pictures(tmp_path: Path) -> None:
    made = train(tmp_path, [picture(n) for n in range(30)])
    assert made is not None
    assert (made.image_size, made.grid_size, made.num_codes, made.channels) == (4, 2, 8, 1)
    assert (tmp_path / "image_tokenizer.safetensors").is_file()


def test_a_colour_picture_among_grey_ones_makes_it_see_colours(tmp_path: Path) -> None:
    made = train(tmp_path, [*(picture(n) for n in range(30)), picture(99, channels=3)])
    assert made is not None and made.channels == 3


def test_the_same_pictures_give_the_same_tokenizer(tmp_path: Path) -> None:
    rows = [picture(n) for n in range(30)]
    (tmp_path / "b").mkdir()
    train(tmp_path, rows)
    train(tmp_path / "b", rows)
    names = ("image_tokenizer.safetensors", "b/image_tokenizer.safetensors")
    assert (tmp_path / names[0]).read_bytes() == (tmp_path / names[1]).read_bytes()


def test_patches_that_do_not_fill_a_picture_are_refused_with_a_size_that_does(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="patch_size=3 does not divide the pictures' 4 pixels") as caught:
        train(tmp_path, [picture(n) for n in range(9)], patch_size=3)
    assert caught.value.hint is not None and "image_size=3" in caught.value.hint


def test_a_palette_needs_no_more_than_the_sizes_of_the_pictures(tmp_path: Path) -> None:
    made = train(tmp_path, [picture(0, channels=3)], kind="palette", num_codes=64, patch_size=1)
    assert made is not None
    assert (made.kind, made.num_codes, made.grid_size, made.channels) == ("palette", 64, 4, 3)


def test_a_named_tokenizer_is_copied_whatever_the_pictures_are(tmp_path: Path) -> None:
    palette = Palette(image_size=6, channels=3, num_codes=27)
    save_image_tokenizer(palette, tmp_path / "image_tokenizer.safetensors")
    made = train(tmp_path / "run", [picture(0)], path=str(tmp_path))
    assert made is not None and (made.image_size, made.num_codes) == (6, 27)
    with pytest.raises(FileError, match=r"image_tokenizer\.path=.*none"):
        train(tmp_path, [picture(0)], path=str(tmp_path / "none"))


def test_a_few_broken_pictures_teach_the_tokenizer_nothing_and_many_stop_it() -> None:
    rows = [picture(n) for n in range(9)] + [{"image": b"no picture"}]
    few = TaskConfig(name="draw", kind="image_generation", data=TaskDataConfig(max_bad_share=0.1))
    assert len(read_pictures(rows, few)) == 9
    with pytest.raises(DataError, match="task draw, row 10"):
        read_pictures(rows, DRAW)


def test_a_row_without_a_picture_is_named() -> None:
    with pytest.raises(DataError, match="task draw, row 2"):
        read_pictures([picture(1), {"text": "no picture"}], DRAW)
