import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., Any]


def test_a_picture_is_drawn_and_stored(banyan: Run, model: Path, tmp_path: Path) -> None:
    drawn = banyan("draw", model, "图片1", "--output", "new/one.png", "--json").answer
    assert (drawn["num_pictures"], drawn["width"], drawn["height"]) == (1, 4, 4)
    with Image.open(io.BytesIO((tmp_path / "new/one.png").read_bytes())) as picture:
        assert 64 <= picture.width <= 70  # enlarged, so that a person can see it
    row = banyan("outputs", "show", drawn["request_id"], "--json").answer
    (output,) = row["outputs"]
    assert row["body"] == {"prompt": "图片1", "n": 1}
    assert len(output["prediction"]["image_codes"]) == row["num_completion_tokens"] == 4
    assert [(a["media_type"], a["width"]) for a in output["artifacts"]] == [("image/png", 4)]


def test_several_pictures_make_one_sheet_and_differ(banyan: Run, model: Path, tmp_path: Path) -> None:
    ran = banyan("draw", model, "picture 1", "--num", 10, "--seed", 5)
    assert ran.out == "10 pictures of 4×4 pixels: drawing.png\n"
    row = banyan("outputs", "show", "last", "--json").answer
    assert len(row["outputs"]) == 10 and row["seed"] == 5
    assert len({str(output["prediction"]["image_codes"]) for output in row["outputs"]}) > 1
    with Image.open(tmp_path / "drawing.png") as sheet:
        assert sheet.width > sheet.height  # eight in a row


def test_the_same_seed_draws_the_same_picture(banyan: Run, model: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        banyan("draw", model, "picture 2", "--num", 4, "--seed", seed, "--output", f"{name}.png", "--quiet")
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ([" "], 2, "cannot draw a blank wish"),
        (["caf\udce9"], 2, "lone surrogate"),
        (["x", "--num", "0"], 2, "--num"),
        (["x", "--output", "."], 6, "cannot write"),
        (["x", "--output", "file/x.png"], 6, "cannot write file/x.png"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    banyan: Run, model: Path, words: list[str], code: int, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ran = banyan("draw", model, *words)
    assert (ran.code, ran.out) == (code, "")
    assert problem in ran.error
