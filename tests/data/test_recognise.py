"""A look at a file tells its format, what it can teach, and how its columns must be named."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from banyan.core.errors import DataError, FileError
from banyan.core.types import Row
from banyan.data.kinds import guess_kind
from banyan.data.recognise import describe_source, shorten
from banyan.tokenizers.pictures import image_from_array, image_to_png

_PNG = image_to_png(image_from_array(np.zeros((4, 6), dtype=np.uint8)))
_REVIEWS = [("Lovely room", "good"), ("Too loud", "bad"), ("Great view", "good"), ("Cold soup", "bad")]


def _rows(names: Sequence[str], *values: Sequence[Any]) -> list[Row]:
    return [dict(zip(names, row, strict=True)) for row in values]


_SQUAD = {"context": "Ada wrote it.", "question": "Who?", "answers": [{"text": "Ada", "start": 0}]}
_GUESSES: dict[str, tuple[list[Row], str, dict[str, str], dict[str, str]]] = {
    "messages": ([{"messages": [{"role": "user", "content": "hi"}]}], "dialogue", {}, {}),
    "sharegpt": ([{"conversations": [{"from": "human", "value": "hi"}]}], "dialogue", {}, {}),
    "conversation": (
        [{"conversation": [{"role": "user", "content": "hi"}]}],
        *("dialogue", {"messages": "conversation"}, {}),
    ),
    "alpaca": (_rows(("instruction", "input", "output"), ("Say hi", "", "hi")), "dialogue", {}, {}),
    "pairs": (_rows(("prompt", "response"), ("Say hi", "hi")), "dialogue", {}, {}),
    "squad": ([_SQUAD], "question_answering", {}, {}),
    "passages": (
        [{"passage": "Ada wrote it.", "question": "Who?", "answers": {"text": ["Ada"], "answer_start": [0]}}],
        *("question_answering", {"context": "passage"}, {}),
    ),
    "tokens": ([{"tokens": ["Ada"], "ner_tags": ["B-PER"]}], "tagging", {"tags": "ner_tags"}, {}),
    "characters": ([{"text": "中国", "tags": ["B-LOC", "I-LOC"]}], "tagging", {}, {}),
    "entities": ([{"text": "Ada", "spans": [[0, 3, "PER"]]}], "tagging", {"entities": "spans"}, {}),
    "translation": (
        [{"translation": {"en": "tree", "de": "Baum"}}],
        *("translation", {}, {"source_language": "en", "target_language": "de"}),
    ),
    "languages": (
        _rows(("id", "English", "zh"), (1, "tree", "树"), (2, "forest", "森林")),
        *("translation", {"en": "English"}, {"source_language": "en", "target_language": "zh"}),
    ),
    "source_target": (
        _rows(("source", "target"), ("tree", "树"), ("forest", "森林")),
        *("translation", {}, {"source_language": "en", "target_language": "zh"}),
    ),
    "nameless": (
        _rows(("column_1", "column_2"), ("Go.", "Geh."), ("Stop!", "Halt!")),
        *("translation", {"source": "column_1", "target": "column_2"}),
        {"source_language": "xx", "target_language": "yy"},
    ),
    "pictures": ([{"image": _PNG, "label_name": "dog"}], "image_generation", {"text": "label_name"}, {}),
    "hf_pictures": ([{"image": {"bytes": _PNG}, "caption": "dog"}], "image_generation", {"text": "caption"}, {}),
    "summaries": (
        [{"article": "A long story about a tree.", "highlights": "A tree."}],
        *("summarization", {"document": "article", "summary": "highlights"}, {}),
    ),
    "reviews": (_rows(("review", "rating"), *_REVIEWS), "classification", {"text": "review", "label": "rating"}, {}),
    "own_names": (
        _rows(("kommentar", "urteil"), *_REVIEWS),
        *("classification", {"text": "kommentar", "label": "urteil"}, {}),
    ),
    "title": (
        _rows(("title", "body", "label"), ("A", "text a", 0), ("B", "text b", 1)),
        *("classification", {}, {"template": "{title}\n{body}"}),
    ),
    "text": ([{"text": "Once upon a time"}], "language_modeling", {}, {}),
    "story": ([{"story": "Once upon a time", "id": 3}], "language_modeling", {"text": "story"}, {}),
}


@pytest.mark.parametrize("name", _GUESSES)
def test_columns_tell_the_kind(name: str) -> None:
    rows, kind, columns, options = _GUESSES[name]
    guess = guess_kind(rows)
    assert guess is not None
    assert (guess.kind, guess.columns, guess.options) == (kind, columns, options)


def test_languages_that_are_only_guessed_are_said_to_be() -> None:
    guess = guess_kind(_GUESSES["nameless"][0])
    assert guess is not None
    assert "are a guess" in guess.notes[0]


def test_numbers_alone_teach_nothing() -> None:
    assert guess_kind([{"x": 1, "y": 2.5}, {"x": 2, "y": 0.5}]) is None


def test_a_label_of_fractions_is_no_label() -> None:
    guess = guess_kind(_rows(("text", "score"), ("a b", "0.13"), ("c d", "0.25"), ("e f", "0.13")))
    assert guess is not None
    assert guess.kind == "language_modeling"


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
