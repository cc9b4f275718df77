import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import StoredCheckpoint, StoredRun

Run = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """The database that every command finds."""
    with open_store(f"sqlite:///{tmp_path / 'banyan.db'}") as opened:
        yield opened


@pytest.fixture
def ids(store: SqlStore) -> list[str]:
    """Two runs of one name, the newer one with all that can happen to a run."""
    keys = []
    for at in (1, 2):
        run = StoredRun(name="demo", kind="train", config={"seed": at}, directory="runs/demo", started_at=at * 10**15)
        keys.append(store.runs.record_run(run).result(10))
    store.runs.finish_run(keys[0], state="failed", exit_code=7).result(10)
    for step, value in ((1, 0.25), (2, 0.5)):
        store.runs.record_metric(keys[1], step=step, name="score", value=value).result(10)
    store.runs.record_event(keys[1], kind="step_skipped", step=2, detail={"loss": "nan"}).result(10)
    for step, state in ((1, "purged"), (2, "valid")):
        saved = StoredCheckpoint(run_id=keys[1], step=step, path=f"checkpoints/{step}", size_bytes=9, state=state)
        store.runs.record_checkpoint(saved).result(10)
    return keys


def test_runs_are_listed_the_newest_first(banyan: Run, ids: list[str]) -> None:
    runs = banyan("runs", "list", "--json").answer["runs"]
    assert [(run["id"], run["state"]) for run in runs] == [(ids[1], "running"), (ids[0], "failed")]
    assert runs[0]["started_at"] == "2033-05-18T03:33:20Z"
    assert len(banyan("runs", "list", "--limit", 1, "--json").answer["runs"]) == 1
    shown = banyan("runs", "list").out
    assert all(key in shown for key in ids) and "2033-05-18 03:33" in shown


def test_one_run_is_shown_with_all_that_happened(banyan: Run, ids: list[str]) -> None:
    run = banyan("runs", "show", "demo", "--json").answer
    assert (run["id"], run["config"], run["metrics"]) == (ids[1], {"seed": 2}, {"score": {"step": 2, "value": 0.5}})
    assert [(event["kind"], event["detail"]) for event in run["events"]] == [("step_skipped", {"loss": "nan"})]
    assert [saved["state"] for saved in run["checkpoints"]] == ["purged", "valid"]
    shown = banyan("runs", "show", "demo").out
    assert "step 2: step_skipped  loss=nan" in shown
    assert "checkpoints/2" in shown and "checkpoints/1" not in shown


@pytest.mark.parametrize("how", ["id", "beginning", "last"])
def test_a_run_is_found_by(banyan: Run, ids: list[str], how: str) -> None:
    wanted = {"id": ids[0], "beginning": ids[0].lower(), "last": "last"}[how]
    assert banyan("runs", "show", wanted, "--json").answer["id"] == (ids[1] if how == "last" else ids[0])


@pytest.mark.parametrize("wanted", ["other", "%", ""])
def test_a_run_that_does_not_exist_is_one_line(banyan: Run, ids: list[str], wanted: str) -> None:
    ran = banyan("runs", "show", wanted)
    assert ran.code == 2
    assert ran.error == f"no run has the name or id {wanted!r}."


def test_a_beginning_that_fits_several_is_one_line(banyan: Run, ids: list[str]) -> None:
    ran = banyan("runs", "show", ids[0][:2])
    assert ran.code == 2
    assert "several runs have" in ran.error


def test_nothing_recorded_yet_is_said(banyan: Run, store: SqlStore) -> None:
    assert banyan("runs", "list").out == "no run has been recorded yet.\n"


def test_quiet_says_nothing(banyan: Run, ids: list[str]) -> None:
    assert banyan("runs", "list", "--quiet").out == banyan("runs", "show", "last", "--quiet").out == ""


def test_no_database_is_one_line(banyan: Run) -> None:
    ran = banyan("runs", "list")
    assert ran.code == 10
    assert "there is no database" in ran.error


def test_closed_streams_do_not_harm_the_database(banyan: Run, ids: list[str]) -> None:
    """As in `banyan runs list <&- >&-`: no file may take the place of a stream that somebody writes to."""

    def close_both() -> None:
        os.close(0)
        os.close(1)

    ran = subprocess.run(
        [sys.executable, "-m", "banyan", "runs", "list"], preexec_fn=close_both, stderr=subprocess.PIPE, timeout=60
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert len(banyan("runs", "list", "--json").answer["runs"]) == 2


def test_runs_are_compared_by_recipe_and_result(banyan: Run, ids: list[str], tmp_path: Path) -> None:
    found = banyan("runs", "compare", *ids, "--plot", "curves.png", "--json").answer
    assert found["differences"] == {"seed": [1, 2]}
    assert found["scores"] == {"score": [None, 0.5]}
    assert [run["state"] for run in found["runs"]] == ["failed", "running"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    shown = banyan("runs", "compare", *ids).out
    assert "seed" in shown and f"demo …{ids[0][-4:]}" in shown


def test_the_same_run_twice_differs_in_nothing(banyan: Run, ids: list[str]) -> None:
    assert "the recipes are the same." in banyan("runs", "compare", "demo", "demo").out


def test_one_run_cannot_be_compared(banyan: Run, ids: list[str]) -> None:
    assert "from two on" in banyan("runs", "compare", "demo").error


@pytest.fixture
def saved_run(store: SqlStore, tmp_path: Path) -> Path:
    """A run folder with three checkpoints, of which `best` means the first and `last` the third."""
    run = tmp_path / "run"
    for step in (1, 2, 3):
        checkpoint = run / f"checkpoints/step-{step:08d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_bytes(b"123")
    (run / "best").symlink_to("checkpoints/step-00000001")
    (run / "last").symlink_to("checkpoints/step-00000003")
    store.runs.record_run(StoredRun(name="one", kind="train", config={}, directory=str(run))).result(10)
    return run


def test_pruning_keeps_best_and_last(banyan: Run, saved_run: Path) -> None:
    removed = banyan("runs", "prune", "--yes", "--json").answer
    assert removed == {"removed": [str(saved_run / "checkpoints/step-00000002")], "bytes": 3}
    assert [(saved_run / link).is_dir() for link in ("best", "last")] == [True, True]
    assert banyan("runs", "prune", "one", "--yes").out == "removed: 0 checkpoints, 0.0 MiB\n"
    assert len(banyan("runs", "prune", "one", "--all", "--yes", "--json").answer["removed"]) == 2


def test_nothing_is_removed_without_a_yes(banyan: Run, saved_run: Path) -> None:
    ran = banyan("runs", "prune")
    assert ran.code == 2 and "removing 1 checkpoints needs a yes" in ran.error
    assert len(list((saved_run / "checkpoints").iterdir())) == 3
