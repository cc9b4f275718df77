"""Pictures that are written out in a text: `data:image/png;base64,…`. Nothing is ever fetched."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from banyan.core.errors import DataError
from banyan.core.types import Image
from banyan.tasks.pictures import read_picture

DATA_URI = "data:"


def is_data_uri(value: Any) -> bool:
    """Whether a value is a text that holds a file itself."""
    return isinstance(value, str) and value.startswith(DATA_URI)


def read_shown_picture(value: Any) -> Image:
    """Read a picture that a question is about: as `read_picture`, or from a data URI.

    Raises: DataError if it is no picture that can be read.
    """
    return read_picture(bytes_of_uri(value) if is_data_uri(value) else value)


def bytes_of_uri(uri: str) -> bytes:
    """Return the file that a data URI holds.

    Raises: DataError if it is not `data:image/…;base64,…`.
    """
    head, comma, content = uri.partition(",")
    if not comma or not head.startswith("data:image/") or not head.endswith(";base64"):
        raise DataError("a picture that is written out must begin with data:image/png;base64, or the like.")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"what stands behind ;base64, is not base64 ({error}).") from error
