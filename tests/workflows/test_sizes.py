"""Sizes follow from how much there is to learn from."""

from dataclasses import replace
from pathlib import Path

import pytest

from banyan.data.recognise import SourceReport
from banyan.model.presets import MODEL_PRESETS
from banyan.workflows.sizes import suggest_sizes

_TEXT = SourceReport(
    path=Path("a"),
    format="jsonl",
    kind="dialogue",
    num_rows=100,
    num_characters=50_000,
    usual_characters=500,
    languages=("Latin",),
)


def test_sizes_never_shrink_as_text_grows() -> None:
    sizes = [suggest_sizes([replace(_TEXT, num_characters=10**power)]) for power in range(3, 11)]
    for name in ("vocab_size", "minutes"):
        values = [getattr(size, name) for size in sizes]
        assert values == sorted(values)
    assert {size.preset for size in sizes} <= set(MODEL_PRESETS)
    assert len({size.preset for size in sizes}) == 4


@pytest.mark.parametrize(("usual_characters", "seq_len"), [(50, 128), (500, 256), (1000, 512), (100_000, 512)])
def test_a_row_holds_most_examples_up_to_a_limit(usual_characters: int, seq_len: int) -> None:
    assert suggest_sizes([replace(_TEXT, usual_characters=usual_characters)]).seq_len == seq_len


def test_characters_of_unspaced_scripts_need_longer_rows() -> None:
    chinese = replace(_TEXT, languages=("zh",), usual_characters=300)
    assert suggest_sizes([chinese]).seq_len == 512
    assert suggest_sizes([replace(chinese, languages=("Latin",))]).seq_len == 128


@pytest.mark.parametrize(
    ("picture_size", "image_size", "patch_size"), [(8, 8, 1), (20, 16, 2), (32, 32, 4), (512, 32, 4), (3, 8, 1)]
)
def test_pictures_are_drawn_with_eight_codes_a_side(picture_size: int, image_size: int, patch_size: int) -> None:
    sizes = suggest_sizes([replace(_TEXT, kind="image_generation", picture_size=picture_size)])
    assert (sizes.image_size, sizes.patch_size) == (image_size, patch_size)
    assert sizes.image_size == 8 * sizes.patch_size


def test_nothing_is_said_of_pictures_where_there_are_none() -> None:
    assert suggest_sizes([_TEXT]).image_size is None
