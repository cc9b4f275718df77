import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from banyan.core.errors import DataError
from banyan.core.types import Image
from banyan.tasks.pictures import fit_picture, read_picture
from banyan.tokenizers.pictures import image_to_array, image_to_png

GREY = Image(width=2, height=1, channels=1, pixels=bytes([10, 200]))
RED = Image(width=2, height=1, channels=3, pixels=bytes([255, 0, 0] * 2))


@pytest.mark.parametrize("image", [GREY, RED], ids=["grey", "colour"])
def test_every_form_of_a_picture_is_read(image: Image, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(image_to_png(image))
    sizes = {"width": 2, "height": 1, "channels": image.channels}
    nested = image_to_array(image).tolist()
    forms = [
        image,
        image_to_png(image),
        str(file),
        file,
        {"bytes": image_to_png(image), "path": None},
        {"bytes": None, "path": str(file)},
        {**sizes, "pixels": list(image.pixels)},
        {**sizes, "pixels": image.pixels},
        {**sizes, "pixels": nested},
    ]
    assert [read_picture(form) for form in forms] == [image] * len(forms)


def test_a_jpeg_is_read_too() -> None:
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8), (255, 0, 0)).save(buffer, format="JPEG")
    image = read_picture(buffer.getvalue())
    assert (image.width, image.channels) == (8, 3)
    assert image.pixels[0] > 240


@pytest.mark.parametrize(
    "value",
    [
        b"no picture",
        "missing.png",
        "null\0byte.png",
        7,
        {"width": 2, "height": 1, "pixels": [1]},
        {"width": 2, "height": 1, "pixels": [1, 256]},
        {"width": 2, "pixels": [1, 2]},
        {"width": 1, "height": 1, "pixels": ["x"]},
        {"width": 1, "height": 1, "pixels": [[1], [2, 3]]},
    ],
)
def test_what_is_no_picture_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="column 'image'"):
        read_picture(value)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    square = Image(width=2, height=2, channels=1, pixels=bytes(4))
    assert fit_picture(square, image_size=2, channels=1) is square


def test_a_picture_is_padded_to_a_square_before_it_is_scaled() -> None:
    wide = Image(width=4, height=2, channels=1, pixels=bytes(8))
    fitted = image_to_array(fit_picture(wide, image_size=4, channels=1))[:, :, 0]
    np.testing.assert_array_equal(fitted, [[255] * 4, [0] * 4, [0] * 4, [255] * 4])


def test_colours_become_grey_and_grey_becomes_colours() -> None:
    grey = fit_picture(RED, image_size=2, channels=1)
    assert (grey.channels, grey.pixels[0]) == (1, 76)  # ITU-R 601: 0.299 of full red
    assert fit_picture(GREY, image_size=2, channels=3).channels == 3
