"""A look at a file tells its format, what it can teach, and how its columns must be named."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from banyan.core.errors import DataError, FileError
from banyan.core.types import Row
from banyan.data.recognise import describe_source, shorten
from banyan.tokenizers.pictures import image_from_array, image_to_png

_PNG = image_to_png(image_from_array(np.zeros((4, 6), dtype=np.uint8)))
_REVIEWS = [("Lovely room", "good"), ("Too loud", "bad"), ("Great view", "good"), ("Cold soup", "bad")]


_NAMES = ["text", "label", "messages", "tokens", "tags", "entities", "translation", "en", "de", "image", "summary", "x"]
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["en", "de", "role", "label"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=4), min_size=1, max_size=6))
def test_no_rows_raise_anything_but_our_own_errors(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with suppress(DataError):
        report = describe_source(path)
        assert report.num_rows == len(rows)


def test_a_table_is_described_with_labels_sizes_and_examples(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("review,rating\n" + "".join(f"{text},{label}\n" for text, label in [*_REVIEWS, _REVIEWS[0]]))
    report = describe_source(path)
    assert (report.format, report.kind, report.num_rows) == ("csv", "classification", 5)
    assert report.labels == ("good", "bad")
    assert report.num_characters == sum(len(text) for text, _ in _REVIEWS) + len(_REVIEWS[0][0])
    assert [example["rating"] for example in report.examples] == ["good", "bad", "good"]
    assert report.languages == ("Latin",)
    assert report.notes == ()


def test_tags_give_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada B-PER\nLovelace I-PER\n\nBonn B-LOC\n\nBerlin B-LOC\nand O\nRome B-LOC\n")
    report = describe_source(path)
    assert (report.kind, report.num_rows, report.labels) == ("tagging", 3, ("LOC", "PER"))


def test_chinese_is_told_from_its_script(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "你好"}]}))
    assert describe_source(path).languages == ("zh",)


def test_long_texts_are_shown_short_and_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo " * 1000)
    [example] = describe_source(tmp_path / "a.txt").examples
    assert len(example["text"]) == 200
    assert "\n" not in example["text"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([{"role": "user", "content": "hi"}, {"from": "gpt", "value": "hello"}], "user: hi | gpt: hello"),
        ({"en": "tree", "de": "Baum"}, "en: tree, de: Baum"),
        (["Ada", "came"], "Ada came"),
        ([{"text": "Ada", "start": 0}], "text: Ada, start: 0"),
        (_PNG, "picture, 6 × 4 pixels"),
        ({"bytes": b"???", "path": None}, "3 bytes"),
        (None, "None"),
    ],
)
def test_nested_values_are_shown_as_a_person_would_write_them(value: object, shown: str) -> None:
    assert shorten(value) == shown


def test_a_picture_folder_is_described_without_reading_every_picture(tmp_path: Path) -> None:
    for index in range(5):
        (tmp_path / "dogs").mkdir(exist_ok=True)
        (tmp_path / f"dogs/{index}.png").write_bytes(_PNG)
    report = describe_source(tmp_path)
    assert (report.format, report.kind, report.num_rows) == ("pictures", "image_generation", 5)
    assert report.examples[0] == {"image": "0.png: picture, 6 × 4 pixels", "text": "dogs"}
    assert len(report.examples) == 3
    assert "every picture has the caption 'dogs'" in report.notes[0]


def test_pictures_that_captions_name_and_are_not_there_are_told(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(_PNG)
    (tmp_path / "captions.csv").write_text("file,text\na.png,a dog\nlost.png,a cat\nb.png,a cat\n")
    with pytest.raises(DataError, match=r"1 of the 3 pictures that captions name are not in .*: lost\.png"):
        describe_source(tmp_path)


def test_pictures_that_captions_pass_over_are_noted(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(_PNG)
    (tmp_path / "captions.csv").write_text("file,text\na.png,a dog\nb.png,a cat\n")
    report = describe_source(tmp_path)
    assert report.num_rows == 3 and report.notes[0].startswith("1 pictures have no caption; training leaves out a few")


def test_blank_cells_and_single_labels_are_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nabc,x\ndef,\nghi,x\njkl,y\n")
    notes = describe_source(tmp_path / "a.csv").notes
    assert "1 of 4 rows have nothing in 'label'; fill or delete them before training" in notes
    assert "label 'y' occurs only once; a label needs several examples" in notes


def test_what_teaches_nothing_is_refused_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    with pytest.raises(DataError, match="has the columns x, y; none of them"):
        describe_source(tmp_path / "a.csv")
    with pytest.raises(FileError, match="not found"):
        describe_source(tmp_path / "none.csv")
