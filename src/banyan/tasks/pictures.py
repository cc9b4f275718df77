"""Pictures in rows, in the size an image tokenizer wants, and as codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from banyan.core.errors import DataError, InputError
from banyan.core.types import Image
from banyan.tokenizers.pictures import WHITE, Colour, image_from_array, image_from_bytes, image_to_array


def read_picture(value: Any, *, background: Colour = WHITE) -> Image:
    """Read a picture as rows hold it: our own, {"width", "height", "channels", "pixels"}, a file's bytes, or its path.

    Hugging Face's {"bytes", "path"} is read too; an error then names the path.
    Raises: DataError if it is none of these, or cannot be read.
    """
    try:
        if isinstance(value, Image):
            return value
        if isinstance(value, bytes):
            return image_from_bytes(value, channels=None, background=background)
        if isinstance(value, str | Path):
            return image_from_bytes(Path(value).read_bytes(), channels=None, background=background)
        if isinstance(value, Mapping):
            return _read_mapping(value, background=background)
    except DataError:
        raise
    except InputError as error:
        raise DataError(f"column 'image'{place_of(value)}: {error.message}", hint=error.hint) from error
    except (OSError, ValueError) as error:  # also a path with a null byte
        raise DataError(f"column 'image' cannot be read as a picture ({error}).") from error
    raise DataError(f"column 'image' must hold a picture, its bytes or its path, got {type(value).__name__}.")


def place_of(value: Any) -> str:
    """Return where a picture lies, as a row holds it, in brackets for an error; nothing where that is not known."""
    path = value.get("path") if isinstance(value, Mapping) else value
    return f" ({path})" if isinstance(path, str | Path) and not str(path).startswith("data:") else ""


def _read_mapping(value: Mapping[str, Any], *, background: Colour) -> Image:
    if isinstance(value.get("bytes"), bytes):
        return image_from_bytes(value["bytes"], channels=None, background=background)
    if value.get("path") is not None:
        return read_picture(value["path"], background=background)
    try:
        sizes = (int(value["height"]), int(value["width"]), int(value.get("channels", 1)))
        samples = np.asarray(list(value["pixels"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"column 'image' needs width, height, channels and pixels ({error!r}).") from error
    num_samples = sizes[0] * sizes[1] * sizes[2]
    is_whole = samples.dtype.kind in "iub" and samples.size == num_samples > 0
    if not is_whole or samples.min() < 0 or samples.max() > 255:
        raise DataError(
            f"column 'image' says {sizes[1]}×{sizes[0]} with {sizes[2]} channels: it needs {num_samples} whole numbers "
            f"from 0 to 255 as pixels, and has {samples.size} values."
        )
    return image_from_array(samples.astype(np.uint8).reshape(sizes))


def fit_picture(image: Image, *, image_size: int, channels: int, background: Colour = WHITE) -> Image:
    """Return the picture as a square of `image_size` pixels: padded with the background, scaled, in grey or RGB."""
    if (image.width, image.height, image.channels) == (image_size, image_size, channels):
        return image
    array = image_to_array(image)
    opened = Pillow.fromarray(array[:, :, 0] if image.channels == 1 else array).convert("RGB")
    side = max(image.width, image.height)
    square = Pillow.new("RGB", (side, side), background)
    square.paste(opened, ((side - image.width) // 2, (side - image.height) // 2))
    scaled = square.convert("L" if channels == 1 else "RGB").resize((image_size, image_size), Pillow.Resampling.LANCZOS)
    return image_from_array(np.asarray(scaled, dtype=np.uint8))
