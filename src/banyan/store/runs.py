"""Training runs: what was started with which configuration, what happened, what was saved, how well it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from hashlib import sha256
from typing import Any, TypeAlias

from sqlalchemy import Connection, select

from banyan.core.ids import new_ulid
from banyan.store.codec import canonical_json
from banyan.store.operations import AddModel, model_id_of
from banyan.store.rows import ChangeRow, PutRow, WriteOperation
from banyan.store.run_schema import CheckpointRow, EvaluationRow, RunEventRow, RunMetricRow, RunRow
from banyan.store.types import StoredCheckpoint, StoredEvaluation, StoredRun

Submit: TypeAlias = Callable[[WriteOperation], Future[Any]]


class RunLog:
    """Writes the story of runs through a store's writer; every future resolves after its commit."""

    def __init__(self, submit: Submit, *, clock: Callable[[], int]) -> None:
        self._submit = submit
        self._clock = clock

    def record_run(self, run: StoredRun) -> Future[str]:
        """Write the start of a run and return its id; a run that is resumed under its id counts as running again."""
        row = _run_row(run)
        again = ("state", "exit_code", "ended_at")
        return self._submit(PutRow(table=RunRow, values=row, result=run.run_id, replace=again))

    def finish_run(self, run_id: str, *, state: str, exit_code: int = 0) -> Future[None]:
        """Write how a run ended: completed, failed or interrupted."""
        values = {"state": state, "exit_code": exit_code, "ended_at": self._clock()}
        return self._submit(ChangeRow(table=RunRow, key={"id": run_id}, values=values))

    def record_event(
        self, run_id: str, *, kind: str, step: int | None = None, detail: Mapping[str, Any] | None = None
    ) -> Future[str]:
        """Write something that happened: a resume, a skipped step, a signal."""
        key = new_ulid()
        row = {"id": key, "run_id": run_id, "step": step, "kind": kind, "detail": dict(detail or {})}
        return self._submit(PutRow(table=RunEventRow, values=row | {"at": self._clock()}, result=key))

    def record_metric(self, run_id: str, *, step: int, name: str, value: float) -> Future[None]:
        """Write one number of one step; a second value for the same step replaces the first."""
        row = {"run_id": run_id, "name": name, "step": step, "value": value, "at": self._clock()}
        return self._submit(
            PutRow(table=RunMetricRow, values=row, key=("run_id", "name", "step"), replace=("value", "at"))
        )

    def record_checkpoint(self, checkpoint: StoredCheckpoint) -> Future[None]:
        """Write that a checkpoint was saved, or that its state changed."""
        row = asdict(checkpoint) | {"id": new_ulid(), "created_at": self._clock()}
        changed = ("path", "size_bytes", "manifest_sha256", "state", "created_at")
        return self._submit(PutRow(table=CheckpointRow, values=row, key=("run_id", "step"), replace=changed))

    def record_evaluation(self, evaluation: StoredEvaluation) -> Future[str]:
        """Write one metric of one model and return the evaluation's id."""
        model = AddModel(name=evaluation.model_name, sha256=evaluation.model_sha256, at=evaluation.at)
        self._submit(model)
        return self._submit(PutRow(table=EvaluationRow, values=_evaluation_row(evaluation), result=_id(evaluation)))


def list_runs(connection: Connection, *, limit: int = 20) -> list[Mapping[str, Any]]:
    """Return the facts of the newest runs as mappings, without their configurations."""
    columns = [column for column in RunRow.__table__.c if column.name != "config"]
    newest = select(*columns).order_by(RunRow.started_at.desc(), RunRow.id.desc()).limit(limit)
    return [dict(row._mapping) for row in connection.execute(newest)]


def _run_row(run: StoredRun) -> dict[str, Any]:
    row = asdict(run)
    config = dict(run.config)
    digest = sha256(canonical_json(config).encode()).hexdigest()
    row |= {"id": row.pop("run_id"), "config": config, "config_sha256": digest}
    return row | {"state": "running", "exit_code": None, "ended_at": None}


def _evaluation_row(evaluation: StoredEvaluation) -> dict[str, Any]:
    row = asdict(evaluation)
    row |= {"id": row.pop("evaluation_id"), "config": dict(evaluation.config)}
    row["model_id"] = model_id_of(row.pop("model_name"), row.pop("model_sha256"))
    return row


def _id(evaluation: StoredEvaluation) -> str:
    return evaluation.evaluation_id
