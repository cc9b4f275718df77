"""Codes are extracted once, and copies change nothing that a caption says."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from banyan.core.errors import ConfigError
from banyan.core.types import Image
from banyan.data.image_batch import PictureAugmentation
from banyan.tasks.image_generation import PictureExample
from banyan.testing.pictures import tiny_pictures
from banyan.tokenizers.palette import Palette
from banyan.tokenizers.pictures import image_from_array, image_to_array
from banyan.workflows.picture_codes import RememberedCodes, with_copies
from banyan.workflows.recipe import ImageTokenizerRecipe

IMAGES = [image_from_array(array) for array in tiny_pictures(70)]


class Counting(Palette):
    num_encoded = 0

    def encode(self, images: Sequence[Image]) -> list[tuple[int, ...]]:
        self.num_encoded += len(images)
        return super().encode(images)


def test_codes_are_read_from_their_shard_until_pictures_or_shard_change(tmp_path: Path) -> None:
    palette = Counting(image_size=8, channels=1, num_codes=16)
    remembered = RememberedCodes(palette, tmp_path)
    first = remembered.encode(IMAGES)
    assert remembered.encode(IMAGES) == first
    assert palette.num_encoded == len(IMAGES)
    [shard] = tmp_path.glob("*.shard")
    shard.write_bytes(shard.read_bytes()[:-3])
    assert remembered.encode(IMAGES) == first
    assert remembered.encode(IMAGES[::-1]) == first[::-1]
    assert len(list(tmp_path.glob("*.shard"))) == 2


@pytest.mark.parametrize(
    ("caption", "may_flip"), [("a bar", True), ("a bar on the left", False), ("左边的方块", False)]
)
def test_copies_are_flipped_only_where_no_side_is_named(caption: str, may_flip: bool) -> None:
    palette = Palette(image_size=8, channels=1, num_codes=16)
    examples = [PictureExample(caption=caption, image=image, label="bar") for image in IMAGES[:20]]
    recipe = ImageTokenizerRecipe(copies=1, augment=PictureAugmentation(flip=True))
    made = with_copies(examples, palette, recipe, seed=0)
    assert made[:20] == examples
    flipped = [_mirrored(example.image) for example in examples]
    changed = [copy.image != example.image for example, copy in zip(examples, made[20:], strict=True)]
    assert any(changed) == may_flip
    for example, mirror, copy in zip(examples, flipped, made[20:], strict=True):
        assert copy.image in (example.image, mirror)
        assert dataclasses.replace(copy, image=example.image) == example


def test_a_small_set_gets_as_many_different_copies_as_fit_and_a_large_one_none() -> None:
    palette = Palette(image_size=8, channels=1, num_codes=16)
    examples = [PictureExample(caption="a bar", image=image, label="bar") for image in IMAGES[:6]]
    augment = PictureAugmentation(turn_degrees=8, warp_pixels=0.5)
    recipe = ImageTokenizerRecipe(copies_up_to=40, augment=augment)
    made = with_copies(examples, palette, recipe, seed=0)
    assert len(made) == 36 and made[:6] == examples  # a seventh of each would be 42
    assert len({example.image for example in made}) == 36
    assert made == with_copies(examples, palette, recipe, seed=0) != with_copies(examples, palette, recipe, seed=1)
    assert [recipe.num_copies(num) for num in (1, 19, 20, 21, 50)] == [39, 1, 1, 0, 0]
    assert ImageTokenizerRecipe(copies=2, copies_up_to=40, augment=augment).num_copies(50) == 2
    with pytest.raises(ConfigError, match="copies_up_to=40 would be copies of the same pictures"):
        ImageTokenizerRecipe(copies_up_to=40)
    with pytest.raises(ConfigError, match="copies_up_to=-1"):
        ImageTokenizerRecipe(copies_up_to=-1, augment=augment)


def _mirrored(image: Image | None) -> Image:
    assert image is not None
    return image_from_array(image_to_array(image)[:, ::-1].copy())
