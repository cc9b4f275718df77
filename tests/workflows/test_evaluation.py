"""A saved model is scored on the examples that training makes of the same rows."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from banyan.core.errors import ConfigError, DataError, FileError
from banyan.core.model_directory import write_manifest
from banyan.runtime.loading import load
from banyan.store.run_schema import EvaluationRow
from banyan.store.sql_store import open_database
from banyan.tasks.translation import Translation
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.evaluation import DataSources, EvaluationRun, evaluate
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome


def score(model: Path, address: str, **options: Any) -> EvaluationRun:
    given: dict[str, Any] = {
        "tasks": (),
        "data": (),
        "split": "test",
        "max_examples": 9,
        "save_predictions": None,
        "database": address,
        "reporter": SilentReporter(),
    }
    return evaluate(model, **(given | options))


def recorded(address: str) -> list[dict[str, Any]]:
    database = open_database(address)
    try:
        with database.read() as connection:
            return [dict(row._mapping) for row in connection.execute(select(EvaluationRow.__table__))]
    finally:
        database.close()


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_model_is_scored_on_what_its_own_run_held_out(tiny_run: TrainingOutcome, address: str) -> None:
    model = tiny_run.run_directory / "best"
    for split in ("validation", "test"):
        run = score(model, address, tasks=("classification",), split=split)
        held_out = getattr(tiny_run.material, split)["classification"]
        assert run.evaluations["classification"].num_examples == len(held_out)
    rows = recorded(address)
    assert {(row["task"], row["split"]) for row in rows} == {
        ("classification", "validation"),
        ("classification", "test"),
    }
    assert {row["dataset"] for row in rows} == {tiny_run.material.fingerprint}
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)


def test_a_score_on_a_users_file_is_recorded_under_that_file(
    tiny_run: TrainingOutcome, address: str, tmp_path: Path
) -> None:
    rows = write(tmp_path / "rows.jsonl", [{"text": f"red {n}", "label": "warm"} for n in range(5)])
    run = score(tiny_run.run_directory / "best", address, data=(f"classification={rows}",))
    (accuracy,) = [row for row in recorded(address) if row["metric"] == "accuracy"]
    assert (accuracy["dataset"], accuracy["split"], accuracy["num_examples"]) == (str(rows), "", 5)
    assert accuracy["value"] == run.evaluations["classification"].score


def test_a_few_examples_of_a_sorted_file_are_taken_from_all_of_it(
    tiny_run: TrainingOutcome, address: str, tmp_path: Path
) -> None:
    rows = [{"text": f"thing {n}", "label": ["cold", "warm"][n >= 50]} for n in range(100)]
    pair = f"classification={write(tmp_path / 'rows.jsonl', rows)}"
    path = tmp_path / "predictions.jsonl"
    score(tiny_run.run_directory / "best", address, data=(pair,), max_examples=10, save_predictions=path)
    labels = [json.loads(line)["reference"] for line in path.read_text("utf-8").splitlines()]
    assert labels == ["cold"] * 5 + ["warm"] * 5


@pytest.mark.parametrize("limit", [10, 11, 1])
def test_of_rows_that_are_asked_in_both_directions_both_are_scored(
    tiny_run: TrainingOutcome, tmp_path: Path, limit: int
) -> None:
    task = Translation(name="mt", source_language="en", target_language="de", both_directions=True)
    rows = write(tmp_path / "rows.jsonl", [{"source": f"tree {n}", "target": f"Baum {n}"} for n in range(100)])
    with load(tiny_run.run_directory / "best") as model:
        found = DataSources(model, {"mt": str(rows)}, split="test").examples(task, limit=limit)
    directions = [example.direction for example in found]
    assert directions == (["en>de", "de>en"] * 5)[:limit]
    assert limit == 1 or int(found[-1].text.removeprefix("Baum ")) > 70  # they are spread over the file


def test_predictions_are_written_beside_their_questions(
    tiny_run: TrainingOutcome, address: str, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "predictions.jsonl"
    names = ("translation", "tagging", "language_modeling")
    run = score(tiny_run.run_directory / "best", address, tasks=names, max_examples=3, save_predictions=path)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["task"] for line in lines] == ["translation"] * 3 + ["tagging"] * 3  # a text is scored, not answered
    assert lines[0]["reference"] and lines[3]["tags"]
    assert [line["prediction"] for line in lines[:3]] == [p.text for p in run.evaluations["translation"].predictions]


@pytest.mark.parametrize(
    ("options", "kind", "problem"),
    [
        ({"split": "tset"}, ConfigError, "--split=tset is not known"),
        ({"data": ("rows.jsonl",)}, ConfigError, "is not of the form task=file"),
        ({"data": ("=rows.jsonl",)}, ConfigError, "is not of the form task=file"),
        ({"tasks": ("tags",), "data": ("mt=x",)}, ConfigError, "is for a task that --task leaves out"),
        ({"tasks": ("mt",)}, FileError, "does not say what task mt was trained on"),
    ],
)
def test_what_cannot_be_scored_is_told(
    address: str, tmp_path: Path, options: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    model = save_tiny_model(tmp_path / "model")
    with pytest.raises(kind, match=problem):
        score(model, address, **options)


def test_what_a_model_has_from_a_parent_is_left_out_unless_it_is_named(
    tiny_run: TrainingOutcome, address: str, tmp_path: Path
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_run.run_directory / "best", copy)
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text("utf-8"))
    recipe["tasks"] = [task for task in recipe["tasks"] if task["name"] == "classification"]
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    (copy / "manifest.json").unlink()
    write_manifest(copy)
    assert list(score(copy, address, max_examples=3).evaluations) == ["classification"]
    with pytest.raises(FileError, match="does not say what task tagging was trained on"):
        score(copy, address, tasks=("tagging",))


class Heard(SilentReporter):
    """Keeps every line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_a_task_whose_split_holds_nothing_is_left_out_with_a_line(
    tiny_run: TrainingOutcome, address: str, tmp_path: Path
) -> None:
    copy, heard = tmp_path / "model", Heard()
    shutil.copytree(tiny_run.run_directory / "best", copy)
    recipe = yaml.safe_load((copy / "recipe.yaml").read_text("utf-8"))
    for task in recipe["tasks"]:
        if task["name"] == "tagging":
            task["data"] |= {"test": None, "test_fraction": 0.0}
    (copy / "recipe.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    (copy / "manifest.json").unlink()
    write_manifest(copy)
    run = score(copy, address, tasks=("classification", "tagging"), max_examples=3, reporter=heard)
    assert list(run.evaluations) == ["classification"]
    assert heard.lines == ["not scored, for there are no test examples: tagging"]


def test_a_model_whose_data_has_gone_says_so(tiny_run: TrainingOutcome, address: str, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_run.run_directory / "best", copy)
    recipe = copy / "recipe.yaml"
    place = tiny_run.recipe.tasks[1].data.train
    gone = recipe.read_text("utf-8").replace(str(place), str(tmp_path / "gone.jsonl"))
    recipe.write_text(gone, "utf-8")
    (copy / "manifest.json").unlink()
    write_manifest(copy)
    with pytest.raises(FileError, match="gone.jsonl is neither a file or folder"):
        score(copy, address, tasks=("classification",))


def test_a_split_without_examples_is_refused(address: str, tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    (tmp_path / "rows.csv").write_text("text,label\n")
    with pytest.raises(DataError):
        score(model, address, data=(f"topic={tmp_path / 'rows.csv'}",))


def test_pictures_without_labels_are_scored_by_how_likely_they_are(tmp_path: Path) -> None:
    model = save_tiny_model(tmp_path / "model")
    with load(model) as loaded:
        name = loaded.task_of_kind("image_generation").name
    picture = {"width": 4, "height": 4, "channels": 1, "pixels": list(range(16))}
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"image": picture, "text": f"picture {n}"}) + "\n" for n in range(3)))
    run = evaluate(
        model,
        tasks=(),
        data=(f"{name}={rows}",),
        split="test",
        max_examples=10,
        save_predictions=None,
        database=f"sqlite:///{tmp_path}/scores.db",
        reporter=SilentReporter(),
    )
    assert run.evaluations[name].main_metric == "perplexity"
    assert run.evaluations[name].num_examples == 3
