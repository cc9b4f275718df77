"""The demo's plan and its course, on the tiny recipe in place of the library."""

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import pytest

import banyan.workflows.demo as demo
from banyan.store.queries import RequestFilter, StoreQueries
from banyan.store.sql_store import open_database
from banyan.testing.clock import clock_with
from banyan.train.interrupt import InterruptWatch
from banyan.workflows.demo import DemoPlan, StageClock, demo_recipe, plan_demo, run_demo
from banyan.workflows.demo_data.build import TASKS, DemoData
from banyan.workflows.demo_data.leakage import LeakageReport
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter


@pytest.fixture(autouse=True)
def _runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANYAN_RUNS", str(tmp_path / "runs"))


@pytest.fixture
def data(tiny_files: dict[str, Path]) -> DemoData:
    """The tiny rows as the demo's."""
    splits = ("train", "validation", "test")
    return DemoData(
        files={name: dict.fromkeys(splits, path) for name, path in tiny_files.items()},
        counts={name: dict.fromkeys(splits, 210) for name in tiny_files},
        leakage=LeakageReport(num_checked={"tagging": 8}, leaked={"tagging": 0}, num_dropped={"tagging": 0}),
        num_modules={"train": 3, "test": 1},
    )


@pytest.fixture
def plan(data: DemoData, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoPlan:
    """A demo that trains the tiny recipe on three of its tasks."""
    tasks = tuple(t for t in tiny_recipe.tasks if t.name in {"language_modeling", "classification", "image_generation"})
    recipe = dataclasses.replace(tiny_recipe, tasks=tasks)
    monkeypatch.setattr(demo, "prepare_data", lambda plan, reporter: data)
    monkeypatch.setattr(demo, "demo_recipe", lambda plan, data: recipe)
    return plan_demo(database=f"sqlite:///{tmp_path / 'demo.db'}")


def run(plan: DemoPlan) -> demo.DemoOutcome:
    return run_demo(plan, reporter=SilentReporter())


def interrupted(after_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a Ctrl-C arrive after so many of the trainer's looks at the watch."""
    looks = iter(range(10**9))

    class Watch(InterruptWatch):
        @property
        def is_requested(self) -> bool:
            if threading.current_thread() is threading.main_thread() and next(looks) == after_steps:
                self.request()
            return self.signal_number is not None

    monkeypatch.setattr("banyan.workflows.training.InterruptWatch", Watch)


def test_every_budget_and_seed_has_a_folder_of_its_own(tmp_path: Path) -> None:
    options: list[dict[str, Any]] = [
        {},
        {"minutes": 10.0},
        {"minutes": 30.0},
        {"minutes": 2.5},
        {"is_quick": True},
        {"is_quick": True, "minutes": 5.0},
        {"seed": 3},
        {"is_quick": True, "seed": 3},
    ]
    names = [plan_demo(**given).run_directory.relative_to(tmp_path / "runs").as_posix() for given in options]
    assert names == [
        "demo",
        "demo",
        "demo-30min",
        "demo-2.5min",
        "demo-quick",
        "demo-quick-5min",
        "demo-seed3",
        "demo-quick-seed3",
    ]


def test_training_gets_most_of_a_longer_budget() -> None:
    shares = [plan_demo(minutes=minutes).training_minutes / minutes for minutes in (5.0, 10.0, 30.0, 120.0)]
    assert shares == sorted(shares) and 0.5 < shares[0] < shares[-1] < 1.0
    assert plan_demo(is_quick=True).training_minutes < 1.5


def test_the_packaged_recipe_takes_the_demos_files_and_budget(data: DemoData) -> None:
    plan = plan_demo(minutes=30.0, seed=4)
    recipe = demo_recipe(plan, data)
    assert (recipe.name, recipe.seed, recipe.minutes) == ("demo-30min-seed4", 4, plan.training_minutes)
    assert {task.name for task in recipe.tasks} == set(TASKS)
    assert all(task.data.train == str(data.files[task.name]["train"]) for task in recipe.tasks)
    quick = demo_recipe(plan_demo(is_quick=True), data)
    assert quick.evaluation.max_test_examples < recipe.evaluation.max_test_examples


def test_a_demo_leaves_a_model_a_report_and_stored_answers(plan: DemoPlan) -> None:
    outcome = run(plan)
    directory = plan.run_directory
    assert outcome.report is not None and outcome.signal_number is None
    assert (directory / "best").is_dir() and (directory / "report.md").is_file() and (directory / "loss.png").is_file()
    assert outcome.report == json.loads((directory / "report.json").read_text("utf-8"))
    assert set(outcome.report["stage_seconds"]) == {"data", "training", "evaluation"}
    text = (directory / "report.md").read_text("utf-8")
    assert "Leakage check: 0 of 8 held-out rows" in text
    database = open_database(plan.database)
    stored = StoreQueries(database).newest(RequestFilter(limit=9999))
    database.close()
    answered = {name: task["num_examples"] for name, task in outcome.report["tasks"].items()}
    del answered["language_modeling"]  # is scored, and answers nothing
    found = [exchange.request.task for exchange in stored]
    assert {name: found.count(name) for name in set(found)} == answered


def test_typed_again_it_shows_the_report_that_is_there(plan: DemoPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(plan)
    monkeypatch.setattr(demo, "train", None)
    assert run(plan) == first


def test_an_interrupted_demo_goes_on_where_it_was(plan: DemoPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupted(9, patch)
        stopped = run(plan)
    assert stopped.report is None and stopped.signal_number == 2 and 0 < stopped.num_steps < 6
    assert not (plan.run_directory / "report.json").exists()
    finished = run(plan)
    assert finished.report is not None and finished.num_steps == 6
    clock = json.loads((plan.run_directory / "stages.json").read_text())
    assert clock["training"] >= finished.report["stage_seconds"]["training"] - 0.1


def test_time_is_counted_over_interruptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(demo, "time", clock_with(monotonic=lambda: next(now)))
    with pytest.raises(KeyboardInterrupt), StageClock(tmp_path).stage("data"):
        raise KeyboardInterrupt
    with StageClock(tmp_path).stage("data"):
        pass
    assert StageClock(tmp_path).seconds == {"data": 5.0}
