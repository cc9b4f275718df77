from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import DivergedError, StoreError
from banyan.core.files import sha256_of
from banyan.store.run_queries import show_run
from banyan.store.runs import list_runs
from banyan.store.sql_store import open_database
from banyan.train.callbacks import CheckpointRecord, EvaluationRecord, EventRecord, FitResult, RunStart
from banyan.workflows.recipe import Recipe
from banyan.workflows.run_records import RunRecorder


def start(run: Path, step: int = 0) -> RunStart:
    return RunStart(step=step, num_steps=9, task_names=("a",), run_directory=run)


def end(run: Path, signal_number: int | None = None) -> FitResult:
    return FitResult(
        steps=9,
        seconds=1.0,
        stopped_by="completed" if signal_number is None else "interrupt",
        last_checkpoint=run,
        best_checkpoint=run,
        best_step=9,
        best_score=None,
        signal_number=signal_number,
    )


def checkpoint(run: Path, step: int) -> CheckpointRecord:
    path = run / f"checkpoints/step-{step:08d}"
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(str(step))
    return CheckpointRecord(step=step, path=path, size_bytes=7, is_best=False, seconds=0.1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory


@contextmanager
def reading(address: str) -> Iterator[Any]:
    database = open_database(address)
    try:
        with database.read() as connection:
            yield connection
    finally:
        database.close()


def last(address: str) -> dict[str, Any]:
    with reading(address) as connection:
        return show_run(connection, "last")


def test_a_run_is_recorded_from_its_start_to_its_end(tiny_recipe: Recipe, run: Path, address: str) -> None:
    with RunRecorder(tiny_recipe, database=address) as recorder:
        recorder.on_start(start(run))
        recorder.on_event(EventRecord(step=3, kind="step_skipped", detail={"loss": "nan"}))
        recorder.on_evaluation(
            EvaluationRecord(step=4, score=0.5, metrics={"score": 0.5, "note": "x"}, is_best=True, seconds=0.1)
        )
        saved = checkpoint(run, 4)
        recorder.on_checkpoint(saved)
        recorder.on_end(end(run))
    row = last(address)
    assert (row["name"], row["kind"], row["state"], row["exit_code"]) == ("tiny", "train", "completed", 0)
    assert row["config"]["train"]["steps"] == 6 and row["directory"] == str(run)
    assert [(event["kind"], event["step"]) for event in row["events"]] == [("step_skipped", 3)]
    assert row["metrics"] == {"score": {"step": 4, "value": 0.5}}
    (found,) = row["checkpoints"]
    assert (found["step"], found["manifest_sha256"]) == (4, sha256_of(saved.path / "manifest.json"))


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_a_signal_is_recorded_with_its_exit_code(
    tiny_recipe: Recipe, run: Path, address: str, number: int, code: int
) -> None:
    with RunRecorder(tiny_recipe, database=address) as recorder:
        recorder.on_start(start(run))
        recorder.on_end(end(run, number))
    assert (last(address)["state"], last(address)["exit_code"]) == ("interrupted", code)


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [(DivergedError("no"), "failed", 7), (ZeroDivisionError(), "failed", 1), (KeyboardInterrupt(), "interrupted", 130)],
    ids=lambda value: type(value).__name__,
)
def test_a_run_that_breaks_off_is_recorded_as_such(
    tiny_recipe: Recipe, run: Path, address: str, error: BaseException, state: str, code: int
) -> None:
    with pytest.raises(type(error)), RunRecorder(tiny_recipe, database=address) as recorder:
        recorder.on_start(start(run))
        raise error
    assert (last(address)["state"], last(address)["exit_code"]) == (state, code)


def test_an_error_before_the_first_step_records_no_run(tiny_recipe: Recipe, address: str) -> None:
    with pytest.raises(ZeroDivisionError), RunRecorder(tiny_recipe, database=address):
        raise ZeroDivisionError
    with reading(address) as connection:
        assert list_runs(connection) == []


def test_a_run_that_goes_on_stays_one_run(tiny_recipe: Recipe, run: Path, address: str) -> None:
    for step, number in ((0, 2), (5, None)):
        with RunRecorder(tiny_recipe, database=address) as recorder:
            recorder.on_start(start(run, step))
            recorder.on_end(end(run, number))
    with reading(address) as connection:
        (row,) = list_runs(connection)
    assert (row["state"], row["exit_code"]) == ("completed", 0)


@pytest.mark.parametrize("content", [None, "", "[]", '{"run_id": 3}', '{"run_id": "x"}'])
def test_a_run_whose_record_is_lost_gets_a_new_one(
    tiny_recipe: Recipe, run: Path, address: str, content: str | None
) -> None:
    if content is not None:
        (run / "run.json").write_text(content)
    with RunRecorder(tiny_recipe, database=address) as recorder:
        recorder.on_start(start(run, 5))
        recorder.on_end(end(run))
    assert last(address)["state"] == "completed"


def test_a_run_begun_anew_is_another_run(tiny_recipe: Recipe, run: Path, address: str) -> None:
    for _ in range(2):
        with RunRecorder(tiny_recipe, database=address) as recorder:
            recorder.on_start(start(run))
            recorder.on_end(end(run))
    with reading(address) as connection:
        assert len(list_runs(connection)) == 2


def test_checkpoints_that_have_gone_are_marked(tiny_recipe: Recipe, run: Path, address: str) -> None:
    with RunRecorder(tiny_recipe, database=address) as recorder:
        recorder.on_start(start(run))
        first = checkpoint(run, 1)
        recorder.on_checkpoint(first)
        (first.path / "manifest.json").unlink()
        first.path.rmdir()
        recorder.on_checkpoint(checkpoint(run, 2))
        recorder.on_end(end(run))
    assert [(c["step"], c["state"]) for c in last(address)["checkpoints"]] == [(1, "purged"), (2, "valid")]


def test_a_database_that_cannot_be_opened_is_found_out_first(tiny_recipe: Recipe) -> None:
    with pytest.raises(StoreError), RunRecorder(tiny_recipe, database="/dev/null/x.db"):
        raise AssertionError("never reached")
