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


def _file(opened: Pillow.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    opened.save(buffer, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_transparent_picture_lies_on_the_stated_background(mode: str) -> None:
    clear = Pillow.new("RGBA", (2, 2), (9, 9, 9, 0)).convert(mode)
    data = _file(clear, **({"transparency": 0} if mode == "P" else {}))
    assert image_from_bytes(data, background=(0, 200, 0)).pixels == bytes((0, 200, 0)) * 4
    assert set(image_from_bytes(data, channels=1).pixels) == {255}


def test_a_picture_stands_upright_as_its_camera_says() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    data = _file(Pillow.new("RGB", (4, 2)), "JPEG", exif=exif)
    image = image_from_bytes(data)
    assert (image.width, image.height) == (2, 4)


def test_of_a_telephones_two_pictures_in_one_file_the_first_is_taken() -> None:
    photo, small = Pillow.new("RGB", (8, 6), (200, 0, 0)), Pillow.new("RGB", (4, 3))
    image = image_from_bytes(_file(photo, "MPO", save_all=True, append_images=[small]))
    assert (image.width, image.height) == (8, 6) and image.pixels[0] > 150


def _animated() -> bytes:
    frames = [Pillow.new("L", (4, 4), grey) for grey in (0, 200)]
    return _file(frames[0], "GIF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (_animated(), "is animated"),
        (_file(Pillow.new("CMYK", (4, 4)), "JPEG"), "CMYK"),
        (_file(Pillow.new("I;16", (4, 4))), "more than 8 bits"),
        (_file(Pillow.new("F", (4, 4)), "TIFF"), "more than 8 bits"),
        (_file(Pillow.new("1", (9000, 9000))), "9000×9000 pixels; at most 50 million"),
        (_file(Pillow.new("1", (16000, 16000))), "far too large; at most 50 million"),
        (_file(Pillow.new("L", (64, 64)))[:60], "can be read"),
        (_file(Pillow.new("L", (4, 4)), "EPS"), "of no known kind"),
    ],
    ids=["animated", "CMYK", "16 bits", "floats", "huge", "a bomb", "cut off", "a program"],
)
def test_what_cannot_be_taken_is_refused_in_one_line(data: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        image_from_bytes(data)
    assert "\n" not in caught.value.message


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
    with pytest.raises(InputError, match=r"can be read \(it is of no known kind\)"):
        image_from_bytes(b"hello")
    with pytest.raises(InputError, match="same size"):
        contact_sheet([image_from_array(_noise(size, 2, 1)) for size in (2, 3)], 2)
