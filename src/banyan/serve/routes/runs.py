"""/v1/runs: training runs to look at while they go on; nothing here changes anything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.serve.auth import require_scope
from banyan.serve.errors import not_found
from banyan.serve.loss_file import Losses, ThinnedCurves, is_finite
from banyan.serve.openapi import asks
from banyan.serve.parts import ServerParts, parts_of
from banyan.serve.run_folders import folder_of
from banyan.serve.run_samples import read_samples, sample_steps
from banyan.serve.run_schemas import RunsQuery, SamplesQuery
from banyan.serve.validation import validate_query
from banyan.store.run_queries import find_run, metric_courses, newest_events
from banyan.store.runs import list_runs
from banyan.store.times import iso_time

router = APIRouter()

_SCOPE = "runs"  # not one of those a key has unless told: samples quote the training data
_RUN_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_FACTS = ("id", "name", "kind", "state", "exit_code", "seed", "world_size", "code_version")
_MAX_EVENTS = 200
_MAX_DETAIL_CHARACTERS = 300
_MAX_SAMPLE_STEPS = 500
_NOT_TOLD = frozenset({"path"})  # of a detail: where something lies on the server's disk


@router.get("/v1/runs", openapi_extra=asks(RunsQuery), summary="List training runs")
async def runs(request: Request) -> Response:
    """List the training runs in the database of this server, the newest first."""
    require_scope(request, _SCOPE)
    query = validate_query(RunsQuery, request.query_params)
    found = await asyncio.to_thread(_newest, parts_of(request), query.limit + 1)
    page = [_facts(row) for row in found[: query.limit]]
    return JSONResponse({"object": "list", "data": page, "has_more": len(found) > query.limit})


@router.get("/v1/runs/{run_id}", summary="Show a training run")
async def run(request: Request, run_id: str) -> Response:
    """Show a run: its losses by task, its scores, and what happened in it."""
    require_scope(request, _SCOPE)
    return JSONResponse(await asyncio.to_thread(_story, parts_of(request), run_id))


@router.get("/v1/runs/{run_id}/samples", openapi_extra=asks(SamplesQuery), summary="Show what a run's model answers")
async def samples(request: Request, run_id: str) -> Response:
    """Show what the model of a run was asked at an evaluation, and what it answered."""
    require_scope(request, _SCOPE)
    query = validate_query(SamplesQuery, request.query_params)
    return JSONResponse(await asyncio.to_thread(_samples, parts_of(request), run_id, query.step))


def _newest(parts: ServerParts, limit: int) -> list[Mapping[str, Any]]:
    with parts.store.database.read() as connection:
        return list_runs(connection, limit=limit)


def _row(parts: ServerParts, run_id: str) -> dict[str, Any]:
    """Return a run by its whole id, which is checked before anything is asked with it.

    Raises: ApiError 404 if there is none.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise not_found()
    with parts.store.database.read() as connection:
        row = find_run(connection, run_id)
    if row is None:
        raise not_found()
    return row


def _story(parts: ServerParts, run_id: str) -> dict[str, Any]:
    row = _row(parts, run_id)
    folder = folder_of(run_id, row["directory"])
    with parts.store.database.read() as connection:
        events = [_event(event) for event in newest_events(connection, run_id, limit=_MAX_EVENTS)]
        scores = ThinnedCurves()
        for step, name, value in metric_courses(connection, run_id):
            if is_finite(value):
                scores.add(step, {name: value})
    return {
        **_facts(row),
        "num_steps": _num_steps(row["config"]),
        "has_files": folder is not None,
        **_course(Losses() if folder is None else parts.run_folders.losses(run_id, folder)),
        "scores": {"steps": scores.steps, "curves": scores.curves},
        "events": events,
        "sample_steps": [] if folder is None else sample_steps(folder)[-_MAX_SAMPLE_STEPS:],
    }


def _course(losses: Losses) -> dict[str, Any]:
    heard_at = losses.heard_at
    return {
        "heard_at": None if heard_at is None else datetime.fromtimestamp(heard_at, UTC).isoformat(timespec="seconds"),
        "newest": losses.newest or None,
        "loss": {"steps": losses.steps, "curves": {"loss": losses.loss}},
        "task_losses": {"steps": losses.steps, "curves": losses.task_losses},
    }


def _samples(parts: ServerParts, run_id: str, step: int | None) -> dict[str, Any]:
    folder: Path | None = folder_of(run_id, _row(parts, run_id)["directory"])
    steps = [] if folder is None else sample_steps(folder)
    wanted = step if step is not None else steps[-1] if steps else None
    if step is not None and step not in steps:
        raise not_found()
    found = [] if folder is None or wanted is None else read_samples(folder, wanted)
    told = [asdict(sample) for sample in found]
    return {"object": "run.samples", "run_id": run_id, "step": wanted, "samples": told}


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: row[name] for name in _FACTS}
    times = {name: iso_time(row[name]) for name in ("started_at", "ended_at")}
    return {**facts, "object": "run", **times}


def _num_steps(config: Mapping[str, Any]) -> int | None:
    train = config.get("train")
    steps = train.get("steps") if isinstance(train, Mapping) else None
    return steps if type(steps) is int else None


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: _told(value) for name, value in row["detail"].items() if _is_told(name, value)}
    return {"at": iso_time(row["at"]), "step": row["step"], "kind": row["kind"], "detail": told}


def _is_told(name: str, value: Any) -> bool:
    """Whether a part of a detail is one value; batches and long courses are for `banyan diagnose`."""
    return name not in _NOT_TOLD and (value is None or isinstance(value, str | bool) or is_finite(value))


def _told(value: Any) -> Any:
    return value[:_MAX_DETAIL_CHARACTERS] if isinstance(value, str) else value
