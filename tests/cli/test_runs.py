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
