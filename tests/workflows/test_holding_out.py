"""What one recipe is tested on, no other recipe over the same pictures has learned."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.tasks.config import TaskConfig, TaskDataConfig
from banyan.tasks.pictures import read_picture
from banyan.testing.pictures import tiny_pictures
from banyan.tokenizers.pictures import image_from_array, image_to_png
from banyan.workflows.datasets import Splits, load_splits
from banyan.workflows.holding_out import hold_out
from banyan.workflows.picture_judging import read_judge_recipe
from banyan.workflows.picture_tokenizer.recipe import read_picture_recipe, settle_picture_recipe
from banyan.workflows.recipe import read_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
PICTURES = tiny_pictures(200)


def _write_idx(place: Path, pictures: np.ndarray) -> Path:
    place.mkdir()
    arrays = {"images-idx3": pictures[..., 0], "labels-idx1": (np.arange(len(pictures)) % 3).astype(np.uint8)}
    for name, array in arrays.items():
        head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
        (place / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))
    return place


def _write_npz(place: Path, pictures: np.ndarray) -> Path:
    np.savez(place.with_suffix(".npz"), images=pictures, labels=np.arange(len(pictures)) % 3)
    return place.with_suffix(".npz")


def _write_parquet(place: Path, pictures: np.ndarray) -> Path:
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    files = [{"bytes": image_to_png(image_from_array(one)), "path": None} for one in pictures]
    table = pa.table({"image": files, "label": [number % 3 for number in range(len(pictures))]})
    pq.write_table(table, place.with_suffix(".parquet"))
    return place.with_suffix(".parquet")


def _write_folder(place: Path, pictures: np.ndarray) -> Path:
    for number, one in enumerate(pictures):
        file = place / "abc"[number % 3] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image_to_png(image_from_array(one)))
    return place


def _splits_of_all(place: Path, **data: str) -> dict[str, Splits]:
    """Return what the three recipes for a folder of one's own make of it."""

    def given(prefix: str) -> list[str]:
        return [f"{prefix}data.train={place}", *(f"{prefix}data.{key}={value}" for key, value in data.items())]

    tokenizer = read_picture_recipe(RECIPES / "image_tokenizer-grey.yaml", overrides=given(""))
    tokenizer = settle_picture_recipe(tokenizer, place, resume=False)
    judge = read_judge_recipe(RECIPES / "picture-judge-own-folder.yaml", overrides=given(""))
    model = read_recipe(RECIPES / "pictures-own-folder.yaml", overrides=given("tasks.draw."))
    as_tasks = {
        "tokenizer": (TaskConfig(name="x", kind="image_generation", data=tokenizer.data), tokenizer.seed),
        "judge": (TaskConfig(name="x", kind="picture_classification", data=judge.data), judge.seed),
        "model": (model.tasks[0], model.seed),
    }
    return {name: load_splits(task, seed=seed) for name, (task, seed) in as_tasks.items()}


def _pictures(rows: tuple[Row, ...]) -> list[bytes]:
    return sorted(read_picture(row["image"]).pixels for row in rows)


@pytest.mark.parametrize("write", [_write_idx, _write_npz, _write_parquet, _write_folder])
def test_tokenizer_judge_and_model_hold_out_the_same_pictures(
    tmp_path: Path, write: Callable[[Path, np.ndarray], Path]
) -> None:
    place = write(tmp_path / "mine", PICTURES)
    test = _write_npz(tmp_path / "test", tiny_pictures(9, seed=1))
    for given in ({}, {"test": str(test)}):
        found = _splits_of_all(place, **given)
        parts = [
            [_pictures(splits.named(part)) for part in ("train", "validation", "test")] for splits in found.values()
        ]
        assert parts[0] == parts[1] == parts[2] and all(parts[0])
        assert len(parts[0][2]) == (9 if given else pytest.approx(20, abs=10))


def _held_out(rows: list[Row], *, seed: int = 0, **shares: float) -> dict[str, list[Any]]:
    splits: dict[str, list[Row]] = {"train": list(rows), "validation": [], "test": []}
    hold_out(splits, shares, columns={}, seed=seed, has_pictures=True)
    return {split: [row["image"] for row in own] for split, own in splits.items()}


ROWS: list[Row] = [{"image": bytes([number % 256, number // 256])} for number in range(1000)]


def test_a_picture_is_held_out_whatever_the_seed_the_other_split_and_the_other_pictures_are() -> None:
    both = _held_out(ROWS, validation=0.1, test=0.1)
    alone = _held_out(ROWS, test=0.1, seed=7)
    assert both["test"] == alone["test"] and 70 < len(both["test"]) < 130
    assert set(both["test"]) < set(_held_out(ROWS, test=0.2)["test"])
    fewer = _held_out(ROWS[:500], validation=0.1, test=0.1)
    assert all(set(fewer[split]) <= set(both[split]) for split in both)


def test_the_first_held_out_pictures_stand_for_all_of_them() -> None:
    numbers = [one[0] + 256 * one[1] for one in _held_out(ROWS, test=0.2)["test"][:40]]
    assert 300 < np.mean(numbers) < 700  # the rows are sorted


def test_a_picture_that_occurs_twice_is_held_out_twice() -> None:
    found = _held_out(ROWS * 2, validation=0.1, test=0.1)
    assert not set(found["train"]) & {*found["validation"], *found["test"]}
    assert len(found["test"]) == 2 * len(set(found["test"]))


def test_of_a_few_pictures_at_least_one_is_held_out_and_some_are_left() -> None:
    few = _held_out(ROWS[:3], validation=0.001, test=0.001)
    assert [len(few[split]) for split in ("train", "validation", "test")] == [1, 1, 1]
    with pytest.raises(DataError, match="3 rows, 1 of them different, are too few"):
        _held_out(ROWS[:1] * 3, test=0.1)


def test_a_file_is_known_by_what_it_holds(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(100)]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]))
    paths, contents = ([{"image": of(file)} for file in files] for of in (str, Path.read_bytes))
    drawn = _held_out(paths, test=0.2)["test"], _held_out(contents, test=0.2)["test"]
    assert [Path(path).read_bytes() for path in drawn[0]] == drawn[1]


def test_pictures_that_cannot_be_used_stay_with_the_training_rows_which_count_them(tmp_path: Path) -> None:
    rows = [
        {"image": {"path": None, "bytes": image_to_png(image_from_array(one))}, "text": "a bar"} for one in PICTURES
    ]
    whole = _splits_of_rows(tmp_path, rows)
    held_out = [*whole.test, *whole.validation]
    lost, untold = held_out[0]["image"]["bytes"], held_out[-1]["image"]["bytes"]
    for row in rows:
        row["image"] = (
            {**row["image"], "bytes": row["image"]["bytes"][:40]} if row["image"]["bytes"] == lost else row["image"]
        )
        row["text"] = " " if row["image"]["bytes"] == untold else row["text"]
    found = _splits_of_rows(tmp_path, rows)
    kept = {row["image"]["bytes"] for row in (*found.test, *found.validation)}
    assert kept == {row["image"]["bytes"] for row in held_out} - {lost, untold}
    assert len(found.train) == len(whole.train) + 2


def _splits_of_rows(folder: Path, rows: list[dict[str, Any]]) -> Splits:
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    pq.write_table(pa.Table.from_pylist(rows), folder / "mine.parquet")
    data = TaskDataConfig(train=str(folder / "mine.parquet"), test_fraction=0.1, validation_fraction=0.1)
    return load_splits(TaskConfig(name="x", kind="image_generation", data=data), seed=0)
