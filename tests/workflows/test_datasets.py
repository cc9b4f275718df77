"""Rows for training, validation and test are chosen by the seed, and none of them stands in two splits."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import DataError, FileError, UnknownNameError
from banyan.data.catalog import CATALOG
from banyan.data.checking import check_splits
from banyan.tasks.config import TaskConfig, TaskDataConfig
from banyan.workflows.datasets import SPLITS, Splits, load_splits, resolve_places, spread


def _split(path: Path, rows: list[dict[str, str]], *, seed: int = 0) -> Splits:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = TaskDataConfig(train=str(path), validation_fraction=0.1, test_fraction=0.1, columns={"text": "review"})
    return load_splits(TaskConfig(name="t", kind="classification", data=data), seed=seed)


def test_rows_that_ask_the_same_are_held_out_together(tmp_path: Path) -> None:
    rows = [{"review": f"Text {n % 100}{'!' * (n // 100)}", "label": "a"} for n in range(200)]
    splits = _split(tmp_path / "rows.jsonl", rows)
    assert [len(splits.named(split)) for split in SPLITS] == [160, 20, 20]
    renamed = {split: [{"text": row["review"]} for row in splits.named(split)] for split in SPLITS}
    assert not check_splits(renamed).is_leaky


def test_the_first_held_out_rows_stand_for_all_of_them(tmp_path: Path) -> None:
    rows = [{"review": f"text {n}", "label": "ab"[n // 500]} for n in range(1000)]  # sorted, as many files are
    splits = _split(tmp_path / "rows.jsonl", rows)
    assert min(Counter(row["label"] for row in splits.validation[:40]).values()) > 8
    assert splits.validation == _split(tmp_path / "rows.jsonl", rows).validation
    assert splits.validation != _split(tmp_path / "rows.jsonl", rows, seed=1).validation


@pytest.mark.parametrize("template", ["{subject}: {body}", None], ids=["a template", "columns that nobody knows"])
def test_rows_whose_label_stands_first_are_not_held_out_label_by_label(tmp_path: Path, template: str | None) -> None:
    rows = [{"queue": "abc"[n % 3], "subject": f"subject {n}", "body": f"body {n}"} for n in range(300)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"label": "queue"} if template else {}
    data = TaskDataConfig(train=str(tmp_path / "rows.jsonl"), columns=columns, validation_fraction=0.2)
    splits = load_splits(TaskConfig(name="t", kind="classification", data=data, template=template), seed=0)
    assert [len(splits.train), len(splits.validation)] == [240, 60]
    for held_out in (splits.train, splits.validation):
        assert {row["queue"] for row in held_out} == {"a", "b", "c"}


def test_few_rows_that_are_all_alike_cannot_be_held_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 rows, 1 of them different, are too few"):
        _split(tmp_path / "rows.jsonl", [{"review": "the same", "label": "a"}] * 5)


def _beside_shards(folder: Path, *, kind: str = "language_modeling", **data: Any) -> Splits:
    (folder / "corpus.json").write_text("{}")
    config = TaskDataConfig(**{"train": str(folder), **data})
    return load_splits(TaskConfig(name="notes", kind=kind, data=config), seed=0)


def test_a_folder_of_shards_takes_the_place_of_training_rows(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "one"}\n{"text": "two"}\n')
    splits = _beside_shards(tmp_path, validation=str(texts), max_examples=1)
    assert (splits.prepared, splits.train, len(splits.validation)) == (tmp_path, (), 1)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "classification"}, "which only language_modeling reads"),
        ({"validation_fraction": 0.1}, "no share can be held out"),
        ({"test_fraction": 0.1}, "no share can be held out"),
    ],
)
def test_shards_cannot_do_what_needs_texts(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        _beside_shards(tmp_path, **changes)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_shards_are_no_part_of_a_split(tmp_path: Path, split: str) -> None:
    with pytest.raises(DataError, match="they can only be all of data.train"):
        _beside_shards(tmp_path, **{"train": str(tmp_path), split: [str(tmp_path)]})


def test_a_sample_of_a_sorted_file_comes_from_all_of_it() -> None:
    assert list(spread(range(10), 5)) == [0, 2, 4, 6, 8]
    assert list(spread(range(3), 5)) == [0, 1, 2]
    assert list(spread(range(3), None)) == [0, 1, 2]


def test_labels_are_known_also_where_their_only_row_is_held_out(tmp_path: Path) -> None:
    rows = [{"review": f"text {n}", "label": f"label {n}"} for n in range(20)]
    splits = _split(tmp_path / "rows.jsonl", rows)
    assert len(splits.train) == 16
    assert [row["label"] for row in splits.described_by] == [row["label"] for row in rows]


def test_named_files_are_read_as_they_are(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    places = {name: str(tmp_path / f"{name}.jsonl") for name in ("a", "b", "c")}
    data = TaskDataConfig(train=[places["a"], places["b"]], test=places["c"], test_fraction=0.4)
    splits = load_splits(TaskConfig(name="t", kind="language_modeling", data=data), seed=0)
    assert [[row["text"] for row in splits.named(split)] for split in SPLITS] == [["a", "b"], [], ["c"]]


def test_a_recipe_without_training_rows_is_refused() -> None:
    with pytest.raises(DataError, match="task t: data.train=None holds no rows"):
        load_splits(TaskConfig(name="t", kind="language_modeling"), seed=0)


def test_a_place_that_is_neither_a_path_nor_a_data_set_is_refused() -> None:
    data = TaskDataConfig(train="ag_newz")
    with pytest.raises(FileError, match="ag_newz is neither a file or folder nor a data set of the catalog"):
        load_splits(TaskConfig(name="t", kind="classification", data=data), seed=0)


def test_places_become_absolute_but_names_of_the_catalog_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = next(iter(CATALOG))
    places = resolve_places(TaskDataConfig(train=["a.jsonl", "/b.jsonl"], test=known))
    assert places == {"train": [str(tmp_path / "a.jsonl"), "/b.jsonl"], "validation": None, "test": known}


def test_a_name_with_a_split_means_that_split_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ag_news").mkdir()
    with gzip.open(tmp_path / "ag_news/train_extra.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"title": "", "description": "a cup is won", "label": 1, "label_name": "Sports"}) + "\n")
    monkeypatch.setenv("BANYAN_DATA", str(tmp_path))
    data = TaskDataConfig(train="ag_news:train_extra")
    assert resolve_places(data)["train"] == "ag_news:train_extra"
    assert load_splits(TaskConfig(name="t", kind="classification", data=data), seed=0).train[0]["label"] == 1
    with pytest.raises(UnknownNameError, match="has no split 'train_extro'"):
        load_splits(
            TaskConfig(name="t", kind="classification", data=TaskDataConfig(train="ag_news:train_extro")), seed=0
        )
