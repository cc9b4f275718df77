"""The events of one picture being drawn: a few previews on the way, the picture, `[DONE]`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from banyan.core.types import Image
from banyan.serve.errors import ApiError
from banyan.serve.frames import DONE, event
from banyan.serve.openai_shapes import Delta, Usage
from banyan.serve.pictures import as_artifact, as_base64
from banyan.tokenizers.images import image_from_array, image_to_array

_UNDRAWN = 255  # samples of the part that is still to come

Show = Callable[[Sequence[int]], Image]  # as many codes as a picture has → the picture


class PictureFrames:
    """Writes previews whenever enough rows of the picture are there, evenly over the drawing."""

    def __init__(self, *, show: Show, grid_size: int, num_previews: int, scale: int) -> None:
        self._show = show
        self._grid_size = grid_size
        self._scale = scale
        self._codes: list[int] = []
        shares = (number / (num_previews + 1) for number in range(1, num_previews + 1))
        self._rows_due = sorted({row for share in shares if (row := round(share * grid_size)) > 0})
        self._num_sent = 0

    def opening(self) -> bytes:
        """Write nothing: the first preview opens the stream."""
        return b""

    def delta(self, delta: Delta) -> bytes:
        """Take the codes that have come, and write a preview if its rows are complete."""
        self._codes.extend(delta.token_ids)
        rows = len(self._codes) // self._grid_size
        if self._num_sent == len(self._rows_due) or rows < self._rows_due[self._num_sent]:
            return b""
        self._num_sent += 1
        index = {"partial_image_index": self._num_sent - 1}
        return self._event("image_generation.partial_image", preview(self._codes, self._show, self._grid_size), **index)

    def ending(self, finish_reasons: Sequence[str], usage: Usage) -> bytes:
        """Write the picture and `[DONE]`."""
        counts = {"input_tokens": usage.num_prompt_tokens, "output_tokens": usage.num_completion_tokens}
        total = {"total_tokens": sum(counts.values())}
        return self._event("image_generation.completed", self._show(self._codes), usage={**counts, **total}) + DONE

    def failure(self, error: ApiError) -> bytes:
        """Write the error frame and `[DONE]`."""
        return event(error.body) + DONE

    def _event(self, kind: str, image: Image, **more: Any) -> bytes:
        artifact = as_artifact(image, scale=self._scale)
        size = f"{artifact.width}x{artifact.height}"
        fixed = {"type": kind, "b64_json": as_base64(artifact), "created_at": int(time.time()), "size": size}
        return event({**fixed, "output_format": "png", **more})


def preview(codes: Sequence[int], show: Show, grid_size: int) -> Image:
    """Return a picture of which only the first rows of codes are drawn; the rest is white.

    The missing codes are filled up for the tokenizer alone: what it makes of them is painted over.
    """
    rows = len(codes) // grid_size
    filled = [*codes, *[codes[-1]] * (grid_size**2 - len(codes))]
    pixels_YXC = image_to_array(show(filled)).copy()
    pixels_YXC[rows * len(pixels_YXC) // grid_size :] = _UNDRAWN
    return image_from_array(pixels_YXC)
