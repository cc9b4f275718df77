"""Pictures on their way out: PNG for the store, base64 for the client."""

from __future__ import annotations

import base64
from typing import Any

from banyan.core.types import Image
from banyan.store.types import StoredArtifact
from banyan.tokenizers.pictures import image_to_png

MAX_PIXELS = 1024  # rows = columns of the largest picture offered
_SCALES = (1, 2, 4, 8, 16, 32, 64)  # every pixel becomes a square of so many


def picture_sizes(image_size: int) -> dict[str, int]:
    """Return the sizes offered, as WIDTHxHEIGHT, with how much each enlarges the model's own."""
    scales = [scale for scale in _SCALES if scale == 1 or image_size * scale <= MAX_PIXELS]
    return {f"{image_size * scale}x{image_size * scale}": scale for scale in scales}


def as_artifact(image: Image, *, scale: int = 1) -> StoredArtifact:
    """Return a picture as the PNG file that is stored and sent."""
    width, height = image.width * scale, image.height * scale
    return StoredArtifact(media_type="image/png", data=image_to_png(image, scale), width=width, height=height)


def as_base64(artifact: StoredArtifact) -> str:
    """Return a stored file as text."""
    return base64.b64encode(artifact.data).decode()


def picture_as_json(artifact: StoredArtifact) -> dict[str, Any]:
    """Return a stored picture with its size in pixels."""
    return {"b64_png": as_base64(artifact), "width": artifact.width, "height": artifact.height}
