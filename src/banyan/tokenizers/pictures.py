"""Pictures as arrays, as PNG files, and many of them on one sheet."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from banyan.core.errors import InputError
from banyan.core.types import Image

Colour: TypeAlias = tuple[int, int, int]  # red, green, blue; 0 to 255
WHITE: Colour = (255, 255, 255)
MAX_PIXELS = 50_000_000  # of one file, before it is scaled: 150 MB
_MOST = f"at most {MAX_PIXELS // 10**6} million pixels are read"
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")  # not EPS, which another program would have to run
_GREY_MODES = ("1", "L", "LA", "La")


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


def image_from_bytes(data: bytes, *, channels: int | None = 3, background: Colour = WHITE) -> Image:
    """Read a picture file, a PNG or JPEG for example: upright, without metadata, on a background where transparent.

    `channels` None takes grey files as grey and all others as RGB.
    Raises: InputError if the bytes are not one still picture of 8-bit samples in grey or RGB, or a very large one.
    """
    if not data:
        raise InputError("the file is missing, empty, or of no kind that is read.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # `check_kind` has a lower bound
            opened = Pillow.open(io.BytesIO(data), formats=_FORMATS)
        with opened:
            check_kind(opened)
            upright = ImageOps.exif_transpose(opened)
            grey = upright.mode in _GREY_MODES if channels is None else channels == 1
            flat = _on_background(upright, background) if upright.has_transparency_data else upright
            array = np.asarray(flat.convert("L" if grey else "RGB"), dtype=np.uint8)
    except InputError:
        raise
    except Pillow.DecompressionBombError as error:  # far above `MAX_PIXELS`
        raise InputError(f"the picture is far too large; {_MOST}.", hint="scale it down") from error
    except Exception as error:  # a decoder that meets a broken file may raise anything
        raise InputError(f"the file is not a picture that can be read ({_first_line(error)}).") from error
    return image_from_array(array)


def check_kind(opened: Pillow.Image) -> None:
    """Make sure that an opened file, of which nothing is decoded yet, is a still picture we can take.

    Raises: InputError.
    """
    if opened.width * opened.height > MAX_PIXELS:
        raise InputError(f"the picture has {opened.width}×{opened.height} pixels; {_MOST}.", hint="scale it down")
    # A telephone's MPO is a JPEG with a second, smaller picture behind the first; nothing in it moves.
    if getattr(opened, "is_animated", False) and opened.format != "MPO":
        raise InputError("the picture is animated; a still one is needed.", hint="save one of its frames")
    if opened.mode == "CMYK":
        raise InputError("the picture is in CMYK, the colours of print; grey or RGB is needed.", hint="save it as RGB")
    coding = str(getattr(opened, "tile", ""))
    if opened.mode.startswith(("I", "F")) or ";16" in coding:
        raise InputError("the picture has more than 8 bits a sample.", hint="save it with 8 bits")


def _on_background(opened: Pillow.Image, background: Colour) -> Pillow.Image:
    ground = Pillow.new("RGBA", opened.size, (*background, 255))
    return Pillow.alpha_composite(ground, opened.convert("RGBA"))


def _first_line(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # whose own words name our buffer by its address
        return "it is of no known kind"
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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
