import base64
import json
from collections.abc import Sequence

import numpy as np
import pytest

from banyan.core.types import Image
from banyan.serve.errors import bad_request
from banyan.serve.openai_shapes import Delta, Usage
from banyan.serve.picture_frames import PictureFrames, preview
from banyan.tokenizers.images import image_from_array, image_from_bytes, image_to_array

GRID = 4


def show(codes: Sequence[int]) -> Image:
    """Every code is a square of 2×2 pixels of its own brightness."""
    assert len(codes) == GRID**2
    return image_from_array(np.array(codes, dtype=np.uint8).reshape(GRID, GRID).repeat(2, 0).repeat(2, 1))


def events(frames: PictureFrames) -> list[dict[str, object]]:
    written = [frames.opening()]
    written += [frames.delta(Delta(index=0, text="", token_ids=(code,))) for code in range(GRID**2)]
    written.append(frames.ending(("stop",), Usage(num_prompt_tokens=3, num_completion_tokens=GRID**2)))
    lines = b"".join(written).decode().removesuffix("data: [DONE]\n\n").split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


@pytest.mark.parametrize("num", [0, 1, 3])
def test_previews_come_evenly_and_the_whole_picture_last(num: int) -> None:
    told = events(PictureFrames(show=show, grid_size=GRID, num_previews=num, scale=2))
    assert [one["type"] for one in told] == ["image_generation.partial_image"] * num + ["image_generation.completed"]
    assert [one["partial_image_index"] for one in told[:-1]] == list(range(num))
    last = image_from_bytes(base64.b64decode(str(told[-1]["b64_json"])), channels=None)
    assert image_to_array(last)[::2, ::2].tobytes() == show(range(GRID**2)).pixels
    assert told[-1]["usage"] == {"input_tokens": 3, "output_tokens": 16, "total_tokens": 19}


def test_a_preview_holds_the_rows_that_are_there_and_nothing_made_up() -> None:
    codes = list(range(6))  # one row and a half
    seen = image_to_array(preview(codes, show, GRID))
    assert (seen[:2] == image_to_array(show(range(GRID**2)))[:2]).all() and (seen[2:] == 255).all()


def test_a_failure_is_said_in_the_stream() -> None:
    frames = PictureFrames(show=show, grid_size=GRID, num_previews=1, scale=1)
    assert frames.failure(bad_request("x", "it broke")).endswith(b"data: [DONE]\n\n")
