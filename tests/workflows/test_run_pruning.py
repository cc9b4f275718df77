from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from banyan.core.locks import hold_directory
from banyan.store.run_queries import show_run
from banyan.store.sql_store import SqlStore, open_database, open_store
from banyan.store.types import StoredCheckpoint, StoredRun
from banyan.testing.training import tiny_trainer
from banyan.workflows.run_pruning import find_prunable, prune


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    with open_store(f"sqlite:///{tmp_path / 'banyan.db'}") as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path, store: SqlStore) -> Path:
    """A run with checkpoints at 2, 4 and 6; the best is that of step 2."""
    directory = tmp_path / "run"
    tiny_trainer(
        directory,
        steps=6,
        train={"checkpoint_every": 2, "evaluate_every": 2, "keep_checkpoints": 9},
        evaluator=lambda model, step: {"score": -step},
    ).fit()
    stored = StoredRun(name="tiny", kind="train", config={}, directory=str(directory))
    run_id = store.runs.record_run(stored).result()
    for step in (2, 4, 6):
        path = str(directory / f"checkpoints/step-{step:08d}")
        store.runs.record_checkpoint(
            StoredCheckpoint(run_id=run_id, step=step, path=path, manifest_sha256="ab")
        ).result()
    return directory


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    database = open_database(f"sqlite:///{tmp_path / 'banyan.db'}")
    try:
        with database.read() as connection:
            return [show_run(connection, "tiny")]
    finally:
        database.close()


def test_best_and_last_stay_and_the_database_knows_what_went(run: Path, tmp_path: Path, store: SqlStore) -> None:
    (item,) = found = find_prunable(rows(tmp_path))
    assert (item.step, item.run) == (4, "tiny") and item.size_bytes > 1000
    assert prune(found, store.runs) == found
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000002", "step-00000006"]
    assert (run / "best").exists() and (run / "last").exists()
    states = {c["step"]: (c["state"], c["manifest_sha256"]) for c in rows(tmp_path)[0]["checkpoints"]}
    assert states == {2: ("valid", "ab"), 4: ("purged", "ab"), 6: ("valid", "ab")}


def test_everything_goes_where_that_is_asked(run: Path, tmp_path: Path, store: SqlStore) -> None:
    prune(find_prunable(rows(tmp_path), everything=True), store.runs)
    assert list((run / "checkpoints").iterdir()) == []
    assert not (run / "best").is_symlink() and not (run / "last").is_symlink()
    assert (run / "metrics.jsonl").exists()


def test_a_run_in_training_is_left_alone(run: Path, tmp_path: Path, store: SqlStore) -> None:
    found = find_prunable(rows(tmp_path))
    with hold_directory(run):
        assert find_prunable(rows(tmp_path)) == []
        assert prune(found, store.runs) == []
    assert (run / "checkpoints/step-00000004").is_dir()


def test_a_run_whose_folder_is_gone_has_nothing_to_prune(run: Path, tmp_path: Path) -> None:
    run.rename(tmp_path / "elsewhere")
    assert find_prunable(rows(tmp_path)) == []
