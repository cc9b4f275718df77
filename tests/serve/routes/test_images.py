import json
from typing import Any

import httpx
import pytest

PATH = "/v1/images/generations"
WISH = {"prompt": "a seven", "seed": 5, "temperature": 1.0}


def events(response: httpx.Response) -> list[dict[str, Any]]:
    frames = response.text.removesuffix("data: [DONE]\n\n").split("\n\n")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames if frame.startswith("data: ")]


def test_a_streamed_picture_is_the_one_that_comes_whole_with_previews_before_it(client: httpx.Client) -> None:
    whole = client.post(PATH, json=WISH).json()
    streamed = client.post(PATH, json={**WISH, "stream": True, "partial_images": 1})
    assert streamed.headers["content-type"].startswith("text/event-stream") and streamed.text.endswith("[DONE]\n\n")
    *previews, last = events(streamed)
    assert [one["type"] for one in previews] == ["image_generation.partial_image"]
    assert last["type"] == "image_generation.completed" and last["b64_json"] == whole["data"][0]["b64_json"]
    assert last["usage"]["output_tokens"] == whole["usage"]["output_tokens"]
    [alone] = events(client.post(PATH, json={**WISH, "stream": True}))
    assert alone["b64_json"] == last["b64_json"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"stream": True, "n": 2}, "n must be 1"),
        ({"stream": True, "num_candidates": 2}, "num_candidates must be 1"),
        ({"partial_images": 4}, "between 0 and 3"),
        ({"num_candidates": 9}, "between 1 and 8"),
        ({"guidance_power": -1}, "between 0 and 10"),
        ({"stream": "yes"}, "true or false"),
        ({"prompt": " "}, "prompt must not be empty"),
        ({"size": "7x7"}, "size must be one of"),
    ],
)
def test_what_cannot_be_drawn_is_refused(client: httpx.Client, changes: dict[str, Any], problem: str) -> None:
    answered = client.post(PATH, json={**WISH, **changes})
    assert answered.status_code == 400 and problem in answered.json()["error"]["message"]


def test_candidates_and_the_course_of_the_guidance_are_taken(client: httpx.Client) -> None:
    asked = {**WISH, "guidance_scale": 2.0, "guidance_power": 1.0, "num_candidates": 3}
    first, again = (client.post(PATH, json=asked).json()["data"] for _ in range(2))
    assert first == again and len(first) == 1
