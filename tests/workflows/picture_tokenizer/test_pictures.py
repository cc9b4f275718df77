"""Pictures from files that people have: all of one form, the broken ones counted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from banyan.core.config import config_from_mapping
from banyan.core.errors import DataError
from banyan.tasks.config import TaskDataConfig
from banyan.testing.pictures import tiny_pictures
from banyan.tokenizers.pictures import image_from_array, image_to_png
from banyan.workflows.picture_tokenizer.pictures import gather_pictures, read_set
from banyan.workflows.picture_tokenizer.recipe import PicturesRecipe, PictureTokenizerRecipe

FILES = [image_to_png(image_from_array(array)) for array in tiny_pictures(20)]


def test_the_same_pictures_come_from_a_folder_for_each_class_and_from_parquet(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    names = ("dogs", "cats")
    for number, data in enumerate(FILES):
        place = tmp_path / "folder" / names[number % 2] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    table = {"image": [{"bytes": data, "path": None} for data in FILES], "label": [n % 2 for n in range(20)]}
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    found = {}
    for name in ("folder", "rows.parquet"):
        recipe = {"kind": "image_tokenizer", "name": "x", "data": {"train": str(tmp_path / name), "test": None}}
        recipe["data"] |= {"validation": str(tmp_path / name)}
        found[name] = gather_pictures(config_from_mapping(PictureTokenizerRecipe, recipe)).train
    assert found["folder"].label_names == ("cats", "dogs")
    assert found["rows.parquet"].label_names == ("0", "1")
    pixels = [sorted(picture.numpy().tobytes() for picture in part.pixels) for part in found.values()]
    assert pixels[0] == pixels[1]


def _rows(*extra: Any) -> list[dict[str, Any]]:
    return [{"image": data} for data in (*FILES, *extra)]


def _wide() -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (90, 10)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_broken_pictures_are_counted_up_to_a_stated_share() -> None:
    rows = _rows(b"\x89PNG nothing", FILES[0][:50], _wide())
    found = read_set(rows, TaskDataConfig(max_bad_share=0.2), PicturesRecipe(), split="train")
    assert (len(found), found.num_bad) == (20, 3)
    with pytest.raises(DataError, match=r"data.train: 3 of 23 pictures cannot be used; row 21: .*not a picture"):
        read_set(rows, TaskDataConfig(max_bad_share=0.1), PicturesRecipe(), split="train")
    with pytest.raises(DataError, match="1 of 1 pictures cannot be used; row 1: column 'image' must hold"):
        read_set([{"text": "x"}], TaskDataConfig(), PicturesRecipe(), split="validation")


def test_one_picture_with_colours_gives_all_of_them_channels() -> None:
    colour = image_to_png(image_from_array(tiny_pictures(1, channels=3)[0]))
    found = read_set(_rows(colour), TaskDataConfig(), PicturesRecipe(), split="train")
    assert found.pixels.shape == (21, 3, 8, 8)
    np.testing.assert_array_equal(found.pixels[0, 2].numpy(), tiny_pictures(20)[0, :, :, 0])


def test_all_pictures_get_one_size_on_one_background() -> None:
    buffer = io.BytesIO()
    Pillow.new("RGBA", (4, 2), (0, 0, 0, 0)).save(buffer, format="PNG")
    pictures = PicturesRecipe(image_size=4, channels=3, background=(0, 0, 255))
    found = read_set([{"image": buffer.getvalue()}], TaskDataConfig(), pictures, split="train")
    np.testing.assert_array_equal(found.pixels[0].permute(1, 2, 0).numpy(), np.full((4, 4, 3), (0, 0, 255)))
