"""Training runs read back: one of them, with all that happened in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from banyan.core.errors import InputError
from banyan.store.run_schema import CheckpointRow, RunEventRow, RunMetricRow, RunRow
from banyan.store.schema import ModelRow, RequestRow


def show_run(connection: Connection, wanted: str) -> dict[str, Any]:
    """Return a run by its name (the newest so called), its id or the beginning of it, or `last` for the newest.

    With its configuration, its events, its checkpoints, and the newest value of each of its metrics.
    Raises: InputError if none fits, or several do.
    """
    row = _find(connection, wanted)
    return {
        **row,
        "events": _rows(connection, RunEventRow, row["id"], order=("at", "id")),
        "checkpoints": _rows(connection, CheckpointRow, row["id"], order=("step",)),
        "metrics": _newest_metrics(connection, row["id"]),
    }


def find_run(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """Return the facts of the run that has exactly this id; None if there is none."""
    found = connection.execute(select(*RunRow.__table__.c).where(RunRow.id == run_id)).first()
    return None if found is None else dict(found._mapping)


def newest_events(connection: Connection, run_id: str, *, limit: int) -> list[dict[str, Any]]:
    """Return the last things that happened in a run, in the order in which they did."""
    columns = RunEventRow.__table__.c
    newest_first = select(*columns).where(columns.run_id == run_id).order_by(columns.at.desc(), columns.id.desc())
    return [dict(row._mapping) for row in connection.execute(newest_first.limit(limit))][::-1]


def metric_courses(connection: Connection, run_id: str) -> Iterator[tuple[int, str, float]]:
    """Yield every value of every metric of a run, as (step, name, value), in the order of the steps."""
    columns = RunMetricRow.__table__.c
    query = select(columns.step, columns.name, columns.value).where(columns.run_id == run_id)
    for row in connection.execute(query.order_by(columns.step, columns.name)):
        yield row.step, row.name, row.value


def metric_course(connection: Connection, run_id: str, name: str) -> tuple[tuple[int, float], ...]:
    """Return every value of one metric of one run, as (step, value), in the order of the steps."""
    columns = RunMetricRow.__table__.c
    query = select(columns.step, columns.value).where(columns.run_id == run_id, columns.name == name)
    return tuple((row.step, row.value) for row in connection.execute(query.order_by(columns.step)))


def checkpoints_that_answered(connection: Connection, *, name: str | None = None) -> tuple[str, ...]:
    """Return where the models lie that gave stored answers, that of the newest answer first; `name` takes one alone."""
    answered = func.max(RequestRow.received_at)
    query = (
        select(CheckpointRow.path)
        .join(ModelRow, ModelRow.sha256 == CheckpointRow.manifest_sha256)
        .join(RequestRow, RequestRow.model_id == ModelRow.id)
        .where(CheckpointRow.state == "valid", CheckpointRow.manifest_sha256 != "")
        .group_by(CheckpointRow.id, CheckpointRow.path)
        .order_by(answered.desc(), CheckpointRow.id.desc())
    )
    return tuple(connection.scalars(query if name is None else query.where(ModelRow.name == name)))


def checkpoints_of(connection: Connection, sha256: str) -> tuple[str, ...]:
    """Return where a model of this manifest was saved, the newest place first."""
    query = select(CheckpointRow.path).where(CheckpointRow.manifest_sha256 == sha256, CheckpointRow.state == "valid")
    return tuple(connection.scalars(query.order_by(CheckpointRow.id.desc())))


def _find(connection: Connection, wanted: str) -> dict[str, Any]:
    newest_first = select(*RunRow.__table__.c).order_by(RunRow.started_at.desc(), RunRow.id.desc())
    query = newest_first if wanted == "last" else newest_first.where(RunRow.name == wanted)
    if (found := connection.execute(query.limit(1)).first()) is not None:
        return dict(found._mapping)
    # Autoescape: a % in what was typed is a letter like any other.
    fitting = connection.execute(
        newest_first.where(RunRow.id.startswith(wanted.upper(), autoescape=True)).limit(2)
    ).all()
    if wanted and len(fitting) == 1:
        return dict(fitting[0]._mapping)
    problem = "no run has" if not fitting or not wanted else "several runs have"
    raise InputError(f"{problem} the name or id {wanted!r}.", hint="see them with: banyan runs list")


def _rows(connection: Connection, table: type[Any], run_id: str, *, order: tuple[str, ...]) -> list[dict[str, Any]]:
    columns = table.__table__.c
    query = select(*columns).where(columns.run_id == run_id).order_by(*(columns[name] for name in order))
    return [dict(row._mapping) for row in connection.execute(query)]


def _newest_metrics(connection: Connection, run_id: str) -> dict[str, Mapping[str, Any]]:
    newest = (
        select(RunMetricRow.name, func.max(RunMetricRow.step).label("step"))
        .where(RunMetricRow.run_id == run_id)
        .group_by(RunMetricRow.name)
        .subquery()
    )
    query = (
        select(RunMetricRow.name, RunMetricRow.step, RunMetricRow.value)
        .join(newest, (RunMetricRow.name == newest.c.name) & (RunMetricRow.step == newest.c.step))
        .where(RunMetricRow.run_id == run_id)
        .order_by(RunMetricRow.name)
    )
    return {row.name: {"step": row.step, "value": row.value} for row in connection.execute(query)}
