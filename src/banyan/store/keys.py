"""API keys: shown once, kept as SHA-256, compared in constant time."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, fields
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, insert, select, update

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.ids import new_ulid
from banyan.core.registry import did_you_mean
from banyan.store.audit import COMMAND_LINE, AuditEntry, append_audit
from banyan.store.database import Database
from banyan.store.key_types import DEFAULT_SCOPES, SCOPES, ApiKey, CreatedKey, KeyLimits, StoreMode
from banyan.store.rows import ChangeRow, WriteOperation
from banyan.store.schema import ApiKeyRow
from banyan.store.times import MICROSECONDS, utc_microseconds

_TOUCH_SECONDS = 60  # a key's last use is noted no more often than this
_NO_DIGEST = "0" * 64


def create_key(
    database: Database,
    *,
    name: str,
    scopes: Sequence[str] = DEFAULT_SCOPES,
    expires_at: int | None = None,
    limits: KeyLimits | None = None,
    store_mode: StoreMode = StoreMode.FULL,
    training_ok: bool = False,
    actor: str = COMMAND_LINE,
    now: int | None = None,
) -> CreatedKey:
    """Make a new key and store its hash; the audit log says which `actor` did.

    Raises: ConfigError for an empty name or no scope; UnknownNameError for a scope that does not exist.
    """
    if not name.strip():
        raise ConfigError("a key needs a name.", hint="for example: banyan keys create laptop")
    if not scopes:
        raise ConfigError(f"a key without a scope opens nothing; scopes are {', '.join(SCOPES)}.")
    for scope in scopes:
        if scope not in SCOPES:
            raise UnknownNameError(f"no scope {scope!r}{did_you_mean(scope, SCOPES)}")
    secret = f"bny_{secrets.token_urlsafe(32)}"
    key = ApiKey(
        key_id=new_ulid(),
        name=name.strip(),
        prefix=secret[:8],
        scopes=tuple(dict.fromkeys(scopes)),
        created_at=utc_microseconds() if now is None else now,
        expires_at=expires_at,
        limits=limits or KeyLimits(),
        store_mode=store_mode,
        training_ok=training_ok,
    )
    with database.write() as connection:
        connection.execute(insert(ApiKeyRow).values(_row(key, digest=_digest(secret))))
        _note(connection, actor, "key.create", key)
    return CreatedKey(key=key, secret=secret)


def verify_key(database: Database, secret: str, *, now: int | None = None) -> ApiKey | None:
    """Return the key with this secret if it is valid now. A wrong secret costs the same work as a right one."""
    digest = _digest(secret)
    with database.read() as connection:
        found = connection.execute(select(ApiKeyRow.__table__).where(ApiKeyRow.key_sha256 == digest)).first()
    is_right = hmac.compare_digest(digest, found.key_sha256 if found else _NO_DIGEST)
    if not found or not is_right:
        return None
    key = _key(found)
    return key if key.is_valid(now=utc_microseconds() if now is None else now) else None


def list_keys(database: Database) -> list[ApiKey]:
    """Return all keys, the newest first, revoked ones too."""
    statement = select(ApiKeyRow.__table__).order_by(ApiKeyRow.created_at.desc(), ApiKeyRow.id.desc())
    with database.read() as connection:
        return [_key(row) for row in connection.execute(statement)]


def revoke_key(database: Database, which: str, *, actor: str = COMMAND_LINE, now: int | None = None) -> ApiKey:
    """Make a key useless from now on; it is named by its id, its prefix or its name. Twice is as good as once.

    Raises: UnknownNameError if no key fits; ConfigError if several do.
    """
    key = find_key(database, which)
    moment = utc_microseconds() if now is None else now
    return _update(database, key.key_id, {"revoked_at": key.revoked_at or moment}, actor=actor, action="key.revoke")


def change_key(
    database: Database,
    which: str,
    *,
    limits: KeyLimits | None = None,
    store_mode: StoreMode | None = None,
    training_ok: bool | None = None,
    actor: str = COMMAND_LINE,
) -> ApiKey:
    """Change what a key may use and what is kept of its requests from now on; None leaves a thing as it is.

    `training_ok` counts for what is stored already, too.
    Raises: as `revoke_key`.
    """
    key = find_key(database, which)
    rights = _rights(
        limits=limits or key.limits,
        store_mode=store_mode or key.store_mode,
        training_ok=key.training_ok if training_ok is None else training_ok,
    )
    return _update(database, key.key_id, rights, actor=actor, action="key.change")


def find_key(database: Database, which: str) -> ApiKey:
    """Return the key with this id, prefix or name; of several with one name, the one that is not revoked.

    Raises: UnknownNameError if no key fits; ConfigError if several do.
    """
    keys = list_keys(database)
    fitting = [key for key in keys if which in (key.key_id, key.prefix, key.name)]
    open_ones = [key for key in fitting if key.revoked_at is None]
    if not fitting:
        raise UnknownNameError(f"no key {which!r}{did_you_mean(which, [key.name for key in keys])}")
    if len(open_ones) > 1:
        ids = ", ".join(key.key_id for key in open_ones)
        raise ConfigError(f"{len(open_ones)} keys are called {which!r}: {ids}.", hint="name the one you mean by its id")
    return (open_ones or fitting)[0]


def _update(database: Database, key_id: str, values: dict[str, Any], *, actor: str, action: str) -> ApiKey:
    with database.write() as connection:
        connection.execute(update(ApiKeyRow).where(ApiKeyRow.id == key_id).values(values))
        key = _key(connection.execute(select(ApiKeyRow.__table__).where(ApiKeyRow.id == key_id)).one())
        _note(connection, actor, action, key)
        return key


def _note(connection: Connection, actor: str, action: str, key: ApiKey) -> None:
    rights = _rights(limits=key.limits, store_mode=key.store_mode, training_ok=key.training_ok)
    told = {name: value for name, value in rights.items() if value is not None}
    detail = {"scopes": list(key.scopes), "expires_at": key.expires_at, **told}
    append_audit(connection, AuditEntry(actor=actor, action=action, object_id=key.key_id, detail=detail))


def _rights(*, limits: KeyLimits, store_mode: StoreMode, training_ok: bool) -> dict[str, Any]:
    return {**asdict(limits), "store_mode": str(store_mode), "training_ok": training_ok}


class KeyChecker:
    """Verifies keys for a server and notes when each was last used, without making anybody wait."""

    def __init__(
        self, database: Database, submit: Callable[[WriteOperation], Future[Any]], *, clock: Callable[[], int]
    ) -> None:
        self._database = database
        self._submit = submit
        self._clock = clock

    def verify(self, secret: str) -> ApiKey | None:
        """Return the key with this secret if it is valid now."""
        now = self._clock()
        key = verify_key(self._database, secret, now=now)
        if key and now - (key.last_used_at or 0) > _TOUCH_SECONDS * MICROSECONDS:
            self._submit(ChangeRow(table=ApiKeyRow, key={"id": key.key_id}, values={"last_used_at": now}))
        return key


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _row(key: ApiKey, *, digest: str) -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "prefix": key.prefix,
        "key_sha256": digest,
        "scopes": list(key.scopes),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        **_rights(limits=key.limits, store_mode=key.store_mode, training_ok=key.training_ok),
    }


def _key(row: Any) -> ApiKey:
    return ApiKey(
        key_id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        limits=KeyLimits(**{each.name: getattr(row, each.name) for each in fields(KeyLimits)}),
        store_mode=StoreMode(row.store_mode),
        training_ok=row.training_ok,
    )
