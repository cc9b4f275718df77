from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from banyan.core.errors import InputError
from banyan.core.types import Image
from banyan.tokenizers.pictures import (
    contact_sheet,
    image_from_array,
    image_from_bytes,
    image_to_array,
    image_to_png,
)


def _noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_array_comes_back_from_its_picture(channels: int) -> None:
    array = _noise(4, 6, channels)
    np.testing.assert_array_equal(image_to_array(image_from_array(array)), array)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels_enlarged(channels: int) -> None:
    image = image_from_array(_noise(3, 5, channels))
    with Pillow.open(io.BytesIO(image_to_png(image, scale=4))) as opened:
        assert opened.size == (20, 12)
        pixels = np.asarray(opened).reshape(12, 20, channels)
    np.testing.assert_array_equal(pixels[::4, ::4], image_to_array(image))
    assert image_from_bytes(image_to_png(image), channels=channels) == image


def test_every_picture_of_a_contact_sheet_lies_in_its_place() -> None:
    images = [image_from_array(np.full((2, 2), value, dtype=np.uint8)) for value in (10, 20, 30)]
    sheet = image_to_array(contact_sheet(images, 2, scale=2))[:, :, 0]
    assert sheet.shape == (11, 11)
    assert [sheet[1, 1], sheet[4, 9], sheet[9, 4], sheet[9, 9]] == [10, 20, 30, 128]


def test_what_is_not_a_picture_is_refused() -> None:
    with pytest.raises(InputError, match="is not a picture"):
        image_from_array(np.zeros((2, 2, 2), dtype=np.uint8))
    with pytest.raises(InputError, match="16 samples, got 3"):
        image_to_array(Image(width=4, height=4, channels=1, pixels=b"abc"))
    with pytest.raises(InputError, match="cannot be read|can be read"):
        image_from_bytes(b"hello")
    with pytest.raises(InputError, match="same size"):
        contact_sheet([image_from_array(_noise(size, 2, 1)) for size in (2, 3)], 2)
