"""Rows for training, validation and test are chosen by the seed, and none of them stands in two splits."""

import json
from collections import Counter
from pathlib import Path

import pytest

from banyan.core.errors import DataError
from banyan.data.checking import check_splits
from banyan.tasks.config import TaskConfig, TaskDataConfig
from banyan.workflows.datasets import SPLITS, Splits, load_splits, spread


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


def test_few_rows_that_are_all_alike_cannot_be_held_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 rows, 1 of them different, are too few"):
        _split(tmp_path / "rows.jsonl", [{"review": "the same", "label": "a"}] * 5)


def test_a_folder_of_shards_is_not_mistaken_for_texts(tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_text("{}")
    task = TaskConfig(name="notes", kind="language_modeling", data=TaskDataConfig(train=str(tmp_path)))
    with pytest.raises(DataError, match="prepared shards"):
        load_splits(task, seed=0)


def test_a_sample_of_a_sorted_file_comes_from_all_of_it() -> None:
    assert list(spread(range(10), 5)) == [0, 2, 4, 6, 8]
    assert list(spread(range(3), 5)) == [0, 1, 2]
    assert list(spread(range(3), None)) == [0, 1, 2]
