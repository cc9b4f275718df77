"""Pictures as arrays, as PNG files, and many of them on one sheet."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from banyan.core.errors import InputError
from banyan.core.types import Image


def image_from_array(array: NDArray[np.uint8]) -> Image:
    """Return a picture from 8-bit samples.

    Shapes: (height, width) grey, or (height, width, channels) with 1 or 3 channels.
    Raises: InputError for another shape or type.
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise InputError(
            f"an array of shape {array.shape} and type {array.dtype} is not a picture; "
            "it must be uint8 of (height, width) or (height, width, 1 or 3)."
        )
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    return Image(width=width, height=height, channels=channels, pixels=array.tobytes())


def image_to_array(image: Image) -> NDArray[np.uint8]:
    """Return the samples of a picture.

    Shapes: (height, width, channels).
    Raises: InputError if the picture has too few or too many samples.
    """
    expected = image.width * image.height * image.channels
    if len(image.pixels) != expected:
        raise InputError(
            f"a picture of {image.width}×{image.height} with {image.channels} channels has {expected} samples, "
            f"got {len(image.pixels)}."
        )
    return np.frombuffer(image.pixels, dtype=np.uint8).reshape(image.height, image.width, image.channels)


def image_to_png(image: Image, scale: int = 1) -> bytes:
    """Return a PNG file; each pixel becomes a square of `scale` × `scale`."""
    array = image_to_array(image).repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    Pillow.fromarray(array[:, :, 0] if image.channels == 1 else array).save(buffer, format="PNG")
    return buffer.getvalue()


def image_from_bytes(data: bytes, *, channels: int = 3) -> Image:
    """Read a PNG, JPEG or other picture file.

    Raises: InputError if the bytes are not a picture that can be read.
    """
    try:
        with Pillow.open(io.BytesIO(data)) as opened:
            array = np.asarray(opened.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    except (OSError, ValueError, Pillow.DecompressionBombError) as error:
        raise InputError(f"the file is not a picture that can be read ({error}).") from error
    return image_from_array(array)


def contact_sheet(images: Sequence[Image], columns: int, scale: int = 1) -> Image:
    """Return one picture that shows all pictures (of one size) in rows, with a thin line between them.

    Raises: InputError if there are none, or their sizes differ.
    """
    if not images or columns < 1:
        raise InputError(f"a contact sheet needs pictures and columns, got {len(images)} and {columns}.")
    arrays = [image_to_array(image).repeat(scale, axis=0).repeat(scale, axis=1) for image in images]
    if len({array.shape for array in arrays}) > 1:
        raise InputError("the pictures of one contact sheet must have the same size and channels.")
    height, width, channels = arrays[0].shape
    columns = min(columns, len(arrays))
    rows = -(-len(arrays) // columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 128, dtype=np.uint8)
    for index, array in enumerate(arrays):
        top, left = index // columns * (height + 1) + 1, index % columns * (width + 1) + 1
        sheet[top : top + height, left : left + width] = array
    return image_from_array(sheet)
