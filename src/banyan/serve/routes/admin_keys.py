"""/admin/keys: make, list, change and revoke API keys; every change is in the audit log with who made it."""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.serve.admin_schemas import ChangeKeyRequest, KeyRights, NewKeyRequest
from banyan.serve.auditing import NO_KEY
from banyan.serve.auth import require_scope
from banyan.serve.errors import bad_request, not_found
from banyan.serve.openapi import takes
from banyan.serve.parts import key_id_of, parts_of
from banyan.serve.reading import receive
from banyan.store.key_types import StoreMode, key_to_json
from banyan.store.keys import change_key, create_key, list_keys, revoke_key
from banyan.store.times import parse_time, utc_microseconds

router = APIRouter()

_SCOPE = "admin"
_END_OF_TIME = parse_time("9999-01-01", now=0)  # later ones cannot be written as a date in every time zone


@router.get("/admin/keys", summary="List the keys")
async def keys(request: Request) -> Response:
    """List all keys, the newest first, without their secrets."""
    require_scope(request, _SCOPE)
    found = await asyncio.to_thread(list_keys, parts_of(request).store.database)
    now = utc_microseconds()
    return JSONResponse({"object": "list", "data": [key_to_json(key, now=now) for key in found]})


@router.post("/admin/keys", openapi_extra=takes(NewKeyRequest), summary="Make a key")
async def new_key(request: Request) -> Response:
    """Make a key; its secret is in this answer and nowhere else."""
    received = await receive(request, NewKeyRequest, scope=_SCOPE)
    asked, database = received.asked, received.parts.store.database
    make = partial(
        create_key,
        database,
        name=asked.name,
        scopes=asked.scopes,
        expires_at=_moment(asked.expires_at),
        limits=asked.limits.as_limits() if asked.limits else None,
        store_mode=_mode(asked) or StoreMode.FULL,
        training_ok=bool(asked.training_ok),
        actor=_actor(request),
    )
    made = await asyncio.to_thread(make)
    return JSONResponse({**key_to_json(made.key, now=utc_microseconds()), "secret": made.secret})


@router.post("/admin/keys/{key_id}", openapi_extra=takes(ChangeKeyRequest), summary="Change a key")
async def changed_key(request: Request, key_id: str) -> Response:
    """Change limits, store mode or the permission to train, from the next request on."""
    received = await receive(request, ChangeKeyRequest, scope=_SCOPE)
    asked = received.asked
    change = partial(
        change_key,
        received.parts.store.database,
        key_id,
        limits=asked.limits.as_limits() if asked.limits else None,
        store_mode=_mode(asked),
        training_ok=asked.training_ok,
        actor=_actor(request),
    )
    try:
        changed = await asyncio.to_thread(change)
    except UnknownNameError as error:
        raise not_found() from error
    return JSONResponse(key_to_json(changed, now=utc_microseconds()))


@router.delete("/admin/keys/{key_id}", summary="Revoke a key")
async def revoked_key(request: Request, key_id: str) -> Response:
    """Make a key useless from now on."""
    require_scope(request, _SCOPE)
    revoke = partial(revoke_key, parts_of(request).store.database, key_id, actor=_actor(request))
    try:
        gone = await asyncio.to_thread(revoke)
    except UnknownNameError as error:
        raise not_found() from error
    return JSONResponse(key_to_json(gone, now=utc_microseconds()))


def _actor(request: Request) -> str:
    return key_id_of(request) or NO_KEY


def _mode(asked: KeyRights) -> StoreMode | None:
    return None if asked.store_mode is None else StoreMode(asked.store_mode)


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    now = utc_microseconds()
    try:
        moment = parse_time(text, now=now)
    except (ConfigError, ValueError, OverflowError) as error:
        raise bad_request(
            "invalid_value", "expires_at must be a date such as 2027-01-31", param="expires_at"
        ) from error
    if not now < moment < _END_OF_TIME:
        raise bad_request("out_of_range", "expires_at must lie ahead, before the year 9999", param="expires_at")
    return moment
