"""A training run as rows of the database: its recipe, its events, its checkpoints and scores."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from banyan import __version__
from banyan.core.config import config_to_mapping
from banyan.core.errors import BanyanError
from banyan.core.paths import default_database_url
from banyan.store.runs import RunLog
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.types import StoredCheckpoint, StoredRun
from banyan.train.callbacks import Callback, CheckpointRecord, EvaluationRecord, EventRecord, FitResult, RunStart
from banyan.workflows.recipe import Recipe

_STATE_OF_END = {"interrupt": "interrupted"}  # any other end is a completed run


class RunRecorder(Callback):
    """Writes a run into the database while it goes on. Use it as a context manager around the training."""

    def __init__(self, recipe: Recipe, *, database: str | None = None) -> None:
        self._recipe = recipe
        self._url = database or default_database_url()
        self._store: SqlStore | None = None
        self._run_id = ""
        self._is_ended = False

    def __enter__(self) -> Self:
        self._store = open_store(self._url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is None:
            return
        if self._run_id and not self._is_ended:
            code = error.exit_code if isinstance(error, BanyanError) else 1
            self._store.runs.finish_run(self._run_id, state="failed", exit_code=code)
        self._store.close()

    def on_start(self, record: RunStart) -> None:
        """Write the run with its recipe."""
        run = StoredRun(
            name=self._recipe.name,
            kind="train",
            config=config_to_mapping(self._recipe),
            directory=str(record.run_directory),
            seed=self._recipe.seed,
            code_version=__version__,
        )
        self._run_id = run.run_id
        self._log.record_run(run)

    def on_event(self, record: EventRecord) -> None:
        """Write what happened."""
        self._log.record_event(self._run_id, kind=record.kind, step=record.step, detail=record.detail)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Write every number of an evaluation."""
        for name, value in record.metrics.items():
            if isinstance(value, int | float):
                self._log.record_metric(self._run_id, step=record.step, name=name, value=float(value))

    def on_checkpoint(self, record: CheckpointRecord) -> None:
        """Write where a checkpoint lies."""
        checkpoint = StoredCheckpoint(
            run_id=self._run_id, step=record.step, path=str(record.path), size_bytes=record.size_bytes
        )
        self._log.record_checkpoint(checkpoint)

    def on_end(self, result: FitResult) -> None:
        """Write how it ended."""
        self._is_ended = True
        state = _STATE_OF_END.get(result.stopped_by, "completed")
        self._log.finish_run(self._run_id, state=state, exit_code=0)

    @property
    def _log(self) -> RunLog:
        assert self._store is not None, "RunRecorder is used as a context manager"
        return self._store.runs
