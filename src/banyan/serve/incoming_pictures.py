"""Pictures on their way in: data URIs alone, small ones alone, and stored only as the PNG we made of them.

Nothing is fetched and no path is opened. What a file holds beside its pixels (places, names, thumbnails) is dropped.
"""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any

from PIL import Image as Pillow

from banyan.core.errors import DataError, InputError
from banyan.core.types import Row
from banyan.tasks.base import Task
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.image_generation import ImageGeneration
from banyan.tasks.picture_uris import bytes_of_uri, is_data_uri
from banyan.tokenizers.images import image_from_bytes, image_to_png

MAX_PICTURES = 8  # of one message
MAX_SIDE = 2048  # pixels
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_PNG_URI = "data:image/png;base64,"


def reencoded(value: Any) -> str:
    """Return a picture as a data URI of a PNG that holds its pixels and nothing else.

    Raises: InputError for anything but a data URI of one small still picture.
    """
    if not is_data_uri(value):
        raise InputError("a picture must be a data URI (data:image/png;base64,…); addresses and paths are never opened")
    try:
        data = bytes_of_uri(value)
    except DataError as error:
        raise InputError(error.message.rstrip(".")) from error
    _check_header(data)
    return _PNG_URI + base64.b64encode(image_to_png(image_from_bytes(data, channels=None))).decode()


def _check_header(data: bytes) -> None:
    """Look at the size that a file claims before anything of it is unpacked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pillow.DecompressionBombWarning)  # what it warns of is refused below
            opened = Pillow.open(io.BytesIO(data), formats=_FORMATS)
        with opened:
            width, height = opened.size
    except Pillow.DecompressionBombError as error:
        raise InputError(f"a picture may have at most {MAX_SIDE}×{MAX_SIDE} pixels, got many times that") from error
    except Exception as error:  # a decoder that meets a broken file may raise anything
        raise InputError(f"a picture must be one of {', '.join(_FORMATS)}, and whole") from error
    if max(width, height) > MAX_SIDE:
        raise InputError(f"a picture may have at most {MAX_SIDE}×{MAX_SIDE} pixels, got {width}×{height}")


def with_safe_pictures(task: Task[Any], given: str | Row) -> str | Row:
    """Return what a question is made of with its pictures re-encoded; what holds none as it is.

    Raises: InputError for a picture that is no data URI, or cannot be read, or is needed and not there.
    """
    if isinstance(task, Dialogue):
        return _with_safe_messages(given)
    if not task.has_pictures or isinstance(task, ImageGeneration):
        return given
    if isinstance(given, str):
        raise InputError(f'task {task.name} asks about a picture: its input must be {{"image": "data:image/png;…"}}')
    names = {"image", task.columns.get("image", "image")} & given.keys()
    return {**given, **{name: reencoded(given[name]) for name in sorted(names)}}


def _with_safe_messages(given: str | Row) -> str | Row:
    if isinstance(given, str):
        if "data:image" in given and given.lstrip().startswith("{"):
            raise InputError("a conversation with pictures must be sent as a record, not as a text")
        return given
    lists = {name: given[name] for name in ("messages", "conversations") if isinstance(given.get(name), list)}
    return {**given, **{name: [_safe_message(message) for message in own] for name, own in lists.items()}}


def _safe_message(message: Any) -> Any:
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return message
    return {**message, "content": [_safe_part(part) for part in message["content"]]}


def _safe_part(part: Any) -> Any:
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return part
    place = part.get("image_url")
    return {
        "type": "image_url",
        "image_url": {"url": reencoded(place.get("url") if isinstance(place, dict) else place)},
    }
