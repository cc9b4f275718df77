"""A training run as rows of the database: its recipe, its events, its checkpoints and scores.

A database that goes away while the run goes on does not disturb it: what it misses waits in the run directory.
"""

from __future__ import annotations

import dataclasses
import re
import signal
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from banyan import __version__
from banyan.core.config import config_to_mapping
from banyan.core.errors import BanyanError, FileError, StoreError
from banyan.core.files import atomic_write_json, read_json, sha256_of
from banyan.core.model_directory import MANIFEST
from banyan.core.paths import default_database_url
from banyan.core.run_directory import RUN_FILE
from banyan.store.outbox import Outbox
from banyan.store.runs import RunLog
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.times import utc_microseconds
from banyan.store.types import StoredCheckpoint, StoredRun
from banyan.train.callbacks import Callback, CheckpointRecord, EvaluationRecord, EventRecord, FitResult, RunStart

OUTBOX_FILE = "unrecorded.jsonl"  # in the run directory: what the database has not taken yet


class RecordedRecipe(Protocol):
    """What a recipe is recorded by, beside its keys."""

    @property
    def name(self) -> str:
        """The run's folder below runs/."""
        ...

    @property
    def seed(self) -> int:
        """What all chance of the run comes from."""
        ...


class RunRecorder(Callback):
    """Writes a run into the database while it goes on. Use it as a context manager around the training."""

    def __init__(self, recipe: RecordedRecipe, *, database: str | None = None) -> None:
        self._recipe = recipe
        self._url = database or default_database_url()
        self._store: SqlStore | None = None
        self._outbox: Outbox | None = None
        self._run_id = ""
        self._is_ended = False
        self._checkpoints: list[StoredCheckpoint] = []  # of this process, that still lie where they were saved

    def __enter__(self) -> Self:
        self._store = open_store(self._url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is None:
            return
        if self._outbox is not None:
            if not self._is_ended:
                state, code = _failure(error)
                self._log.finish_run(self._run_id, state=state, exit_code=code)
            self._outbox.close()
        with suppress(StoreError):  # it is away, and the run has done what it was for
            self._store.close()

    def on_start(self, record: RunStart) -> None:
        """Write the run with its recipe; one that goes on is the same run."""
        run = StoredRun(
            name=self._recipe.name,
            kind="train",
            config=config_to_mapping(self._recipe),
            directory=str(record.run_directory),
            seed=self._recipe.seed,
            code_version=__version__,
        )
        if record.step and (earlier := _recorded_id(record.run_directory)):
            run = dataclasses.replace(run, run_id=earlier)
        self._run_id = run.run_id
        assert self._store is not None, "RunRecorder is used as a context manager"
        self._outbox = Outbox(self._store, record.run_directory / OUTBOX_FILE)
        self._log.record_run(run)
        atomic_write_json(record.run_directory / RUN_FILE, {"run_id": run.run_id})

    def on_event(self, record: EventRecord) -> None:
        """Write what happened."""
        self._log.record_event(self._run_id, kind=record.kind, step=record.step, detail=record.detail)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Write every number of an evaluation."""
        for name, value in record.metrics.items():
            if isinstance(value, int | float):
                self._log.record_metric(self._run_id, step=record.step, name=name, value=float(value))

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Write where a checkpoint lies, and which ones have gone."""
        checkpoint = StoredCheckpoint(
            run_id=self._run_id,
            step=record.step,
            path=str(record.path),
            size_bytes=record.size_bytes,
            manifest_sha256=sha256_of(record.path / MANIFEST),  # the name that every answer of this model carries
        )
        self._log.record_checkpoint(checkpoint)
        # Every save may have removed older ones.
        for earlier in self._checkpoints:
            if not Path(earlier.path).is_dir():
                self._log.record_checkpoint(dataclasses.replace(earlier, state="purged"))
        self._checkpoints = [c for c in (*self._checkpoints, checkpoint) if Path(c.path).is_dir()]

    def on_end(self, result: FitResult) -> None:
        """Write how it ended."""
        self._is_ended = True
        number = result.signal_number
        state = "completed" if number is None else "interrupted"
        self._log.finish_run(self._run_id, state=state, exit_code=0 if number is None else _exit_code(number))

    @property
    def _log(self) -> RunLog:
        assert self._outbox is not None, "a run begins before anything else happens in it"
        return RunLog(self._outbox.submit, clock=utc_microseconds)


def _exit_code(signal_number: int) -> int:
    return 128 + signal_number


def _failure(error: BaseException | None) -> tuple[str, int]:
    """Return the state and the exit code of a run that did not come to its end."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", _exit_code(signal.SIGINT)
    return "failed", error.exit_code if isinstance(error, BanyanError) else 1


def _recorded_id(run_directory: Path) -> str | None:
    """Return the id under which an earlier part of a run was recorded, if that is known."""
    try:
        found = read_json(run_directory / RUN_FILE)
    except FileError:
        return None
    run_id = found.get("run_id") if isinstance(found, dict) else None
    return run_id if isinstance(run_id, str) and re.fullmatch(r"[0-9A-Z]{26}", run_id) else None
