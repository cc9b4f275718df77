import gzip
import json
import os
from pathlib import Path

import pytest

from banyan.core.errors import DataError, FileError, UnknownNameError
from banyan.core.files import sha256_of
from banyan.core.paths import data_directory
from banyan.core.types import Row
from banyan.data.catalog import CATALOG, NO_ROWS, find_dataset, find_split, load_split
from banyan.data.catalog_files import FILES

FIELDS: dict[str, set[str]] = {
    "language_modeling": {"text"},
    "classification": {"text", "label"},
    "question_answering": {"context", "question", "answers"},
    "summarization": {"document", "summary"},
    "translation": {"translation"},
    "dialogue": {"messages"},
    "preference": {"messages", "chosen", "rejected"},
    "image_generation": {"image", "text"},
}
needs_data = pytest.mark.skipif(not os.environ.get("BANYAN_DATA"), reason="BANYAN_DATA is not set: no real data sets")


def write_rows(root: Path, name: str, split: str, rows: list[Row]) -> Path:
    path = root / name / FILES[name][split].name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BANYAN_DATA", str(tmp_path))
    return tmp_path


def test_every_data_set_has_files_and_no_file_is_an_orphan() -> None:
    assert set(FILES) == set(CATALOG)
    assert len(CATALOG) == 33
    for dataset in CATALOG.values():
        assert dataset.licence and dataset.source
        for file in dataset.files.values():
            assert len(file.sha256) == 64
            assert (file.num_rows is None) == (dataset.kind in NO_ROWS)


def test_without_a_data_folder_the_hint_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BANYAN_DATA", raising=False)
    with pytest.raises(FileError, match="BANYAN_DATA is not set") as caught:
        find_dataset("trec")
    assert caught.value.hint is not None and "export BANYAN_DATA=" in caught.value.hint


def test_wrong_names_suggest_the_right_one(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean trec"):
        find_dataset("treck")
    with pytest.raises(UnknownNameError, match="no split 'trian'; did you mean train"):
        find_split("trec", "trian")


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(FileError, match="'trec' is not there"):
        find_split("trec", "train")
    (root / "trec").mkdir()
    with pytest.raises(FileError, match=r"not whole: .*train.jsonl.gz is missing"):
        find_split("trec", "train")


def test_another_variant_is_taken_with_one_line(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_rows(root, "trec", "train", [{"label": "HUM", "fine_label": "HUM:ind", "text": "Who?"}])
    for _ in range(2):
        assert [row["text"] for row in load_split("trec", "train")] == ["Who?"]
    assert [record.getMessage().split()[0] for record in caplog.records] == ["another_variant"]


def test_a_file_that_is_not_the_data_set_is_refused(root: Path) -> None:
    write_rows(root, "sst2", "train", [{"sentence": "good"}])
    with pytest.raises(DataError, match="row 0 is not a row of sst2: 'label' does not fit; its columns: sentence"):
        list(load_split("sst2", "train"))


def test_a_tokenizer_has_no_rows(root: Path) -> None:
    with pytest.raises(DataError, match="holds a tokenizer, not rows"):
        next(load_split("gpt2_tokenizer", "vocab"))


READ = [
    (
        "ag_news",
        {"label": 1, "label_name": "Sports", "title": "A", "description": "B"},
        {"text": "A\nB", "label": 1, "label_name": "Sports"},
    ),
    (
        "ag_news",
        {"label": 1, "label_name": "Sports", "title": "", "description": "B"},
        {"text": "B", "label": 1, "label_name": "Sports"},
    ),
    ("sst2", {"label": 0, "text": "bad"}, {"text": "bad", "label": 0, "label_name": "negative"}),
    ("multi30k_en_de", {"en": "a", "de": "b"}, {"translation": {"en": "a", "de": "b"}}),
    (
        "tatoeba_en_zh",
        {"en": "a", "zh": "b", "attribution": "c"},
        {"translation": {"en": "a", "zh": "b"}, "attribution": "c"},
    ),
    ("aeslc", {"id": "1", "body": "long", "subject": "s"}, {"document": "long", "summary": "s", "id": "1"}),
    (
        "aeslc",
        {"id": "1", "body": "long", "subject": "s", "annotators": ["t", "u"]},
        {"document": "long", "summary": "s", "summaries": ["s", "t", "u"], "id": "1"},
    ),
    (
        "dialogsum",
        {"dialogue": "d", "summaries": ["a", "b"], "topics": ["t", "u"]},
        {"document": "d", "summary": "a", "summaries": ["a", "b"], "topics": ["t", "u"]},
    ),
]


def test_a_conversation_ends_with_an_answer(root: Path) -> None:
    said = [("user", "a table"), ("assistant", "booked"), ("user", "thanks"), ("assistant", "")]
    messages = [{"role": role, "content": content} for role, content in said]
    write_rows(root, "sgd_dialogue", "train", [{"messages": messages}, {"messages": messages[:2]}])
    assert [row["messages"] for row in load_split("sgd_dialogue", "train")] == [messages[:2]] * 2


def test_a_row_that_asks_nothing_is_left_out(root: Path) -> None:
    rows = [{"question": question, "context": "c", "answers": []} for question in ("who?", " ")]
    write_rows(root, "cmrc2018", "train", rows)
    assert list(load_split("cmrc2018", "train")) == rows[:1]


@pytest.mark.parametrize(("name", "row", "wanted"), READ)
def test_rows_come_in_the_common_format(root: Path, name: str, row: Row, wanted: Row) -> None:
    write_rows(root, name, "train", [row])
    assert list(load_split(name, "train")) == [wanted]


LEFT_OUT = {"cmrc2018": 1}  # rows of the smallest split that ask nothing


@needs_data
@pytest.mark.parametrize("name", [name for name, dataset in CATALOG.items() if dataset.kind not in NO_ROWS])
def test_the_real_rows_are_as_many_as_promised_and_in_the_common_format(name: str) -> None:
    dataset = CATALOG[name]
    smallest = min(dataset.files, key=lambda split: dataset.files[split].num_rows or 0)
    rows = list(load_split(name, smallest))
    assert len(rows) == dataset.files[smallest].num_rows - LEFT_OUT.get(name, 0)
    fields = FIELDS.get(dataset.kind) or ({"tokens", "tags"} if "tokens" in rows[0] else {"text", "tags"})
    assert all(fields <= row.keys() for row in rows)


@needs_data
def test_the_real_files_are_the_known_variants() -> None:
    root = data_directory()
    assert root is not None
    small = [
        (root / name / file.name, file.sha256)
        for name, files in FILES.items()
        for file in files.values()
        if (root / name / file.name).stat().st_size < 2_000_000
    ]
    assert len(small) > 60
    assert [path for path, known in small if sha256_of(path) != known] == []
