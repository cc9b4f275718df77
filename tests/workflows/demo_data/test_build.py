from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import DataError, FileError
from banyan.core.types import Row
from banyan.data.sources import read_rows
from banyan.tasks.config import TaskConfig, build_task
from banyan.workflows.demo_data.areas import AREAS
from banyan.workflows.demo_data.build import QUICK, TASKS, DemoData, Limits, build_demo_data, read_demo_data
from banyan.workflows.demo_data.leakage import TrainingText, count_leaks

TINY = Limits(train=60, short_train=80, validation=10, test=12, corpus_characters=20_000)
OF_THE_LIBRARY = ("language_modeling", "classification", "tagging", "summarization", "question_answering", "dialogue")


def _build(directory: Path, library: Path, *, seed: int = 0) -> DemoData:
    return build_demo_data(directory, quick=True, seed=seed, library=library, limits=TINY)


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def tiny(library: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    return _build(tmp_path_factory.mktemp("tiny"), library)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> DemoData:
    """The real thing, from the Python that runs the tests."""
    return build_demo_data(tmp_path_factory.mktemp("quick"), quick=True, seed=0)


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(
    tiny: DemoData, library: Path, tmp_path: Path
) -> None:
    again = _build(tmp_path / "again", library)
    other = _build(tmp_path / "other", library, seed=1)
    for task in TASKS:
        for split, path in tiny.files[task].items():
            assert again.files[task][split].read_bytes() == path.read_bytes()
        assert other.files[task]["train"].read_bytes() != tiny.files[task]["train"].read_bytes()


def test_counts_are_the_lines_of_the_files_and_within_the_limits(tiny: DemoData) -> None:
    for task in TASKS:
        for split, path in tiny.files[task].items():
            assert tiny.counts[task][split] == len(_rows(path)) > 0
        assert tiny.counts[task]["validation"] <= TINY.validation
        assert tiny.counts[task]["test"] <= TINY.test


def test_a_module_is_in_the_same_split_for_every_task(quick: DemoData) -> None:
    splits: dict[str, set[str]] = {}
    for task in OF_THE_LIBRARY:
        for split, path in quick.files[task].items():
            for row in _rows(path):
                splits.setdefault(row["module"], set()).add(split)
    assert len(splits) > 100
    assert max(map(len, splits.values())) == 1


def test_what_stands_in_training_under_another_name_is_dropped(tiny: DemoData) -> None:
    assert tiny.leakage.num_dropped["classification"] > 0  # the docstring that every made-up module has
    assert tiny.leakage.is_clean


def test_no_held_out_source_stands_in_the_training_files(quick: DemoData) -> None:
    training = TrainingText(row for named in quick.files.values() for row in _rows(named["train"]))
    held_out = {task: _rows(named["validation"]) + _rows(named["test"]) for task, named in quick.files.items()}
    assert count_leaks(training, held_out) == dict.fromkeys(TASKS, 0)
    assert quick.leakage.num_checked == {task: len(rows) for task, rows in held_out.items()}


def test_this_python_gives_every_task_enough_rows(quick: DemoData) -> None:
    for task in TASKS:
        counts = quick.counts[task]
        assert counts["test"] == QUICK.test
        assert counts["validation"] == QUICK.validation
        assert counts["train"] >= (100 if task == "language_modeling" else 0.8 * QUICK.train)
    labels = Counter(row["label"] for row in _rows(quick.files["classification"]["train"]))
    assert set(labels) == set(AREAS)


@pytest.mark.parametrize("kind", TASKS)
def test_every_row_is_read_by_its_kind_of_task(quick: DemoData, kind: str) -> None:
    rows = [row for path in quick.files[kind].values() for row in read_rows(path)]
    extra: dict[str, Any] = {}
    if kind == "image_generation":
        extra = {"grid_size": 4, "num_codes": 64}
    task = build_task(TaskConfig(name=kind, kind=kind), rows=rows, **extra)
    assert all(task.examples_from_row(row) for row in rows)


def test_the_report_can_be_read_back(tiny: DemoData, tmp_path: Path) -> None:
    directory = tiny.files["tagging"]["train"].parent
    assert read_demo_data(directory) == tiny
    with pytest.raises(FileError, match="not found"):
        read_demo_data(tmp_path)
    (tmp_path / "demo_data.json").write_text('{"files": {}}')
    with pytest.raises(DataError, match="not a report"):
        read_demo_data(tmp_path)


def test_a_python_without_sources_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs at least"):
        build_demo_data(tmp_path / "out", quick=True, seed=0, library=tmp_path)
