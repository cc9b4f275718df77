"""What an administrator may send."""

from __future__ import annotations

import re
from typing import Annotated, Any

from banyan.serve.rules import Converted, Length, OneOf, Whole, refuse, show
from banyan.serve.schemas import Body
from banyan.store.key_types import DEFAULT_SCOPES, SCOPES, KeyLimits, StoreMode

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_FOLDERS = 8  # in each other
_MAX_LIMIT = 2**53  # what every reader of JSON can hold exactly
Limit = Annotated[int, Whole(1, _MAX_LIMIT)]


def _scopes(value: Any) -> list[str]:
    rule = f"must be a list of {', '.join(SCOPES)}"
    if not isinstance(value, list) or not value:
        raise refuse("invalid_value", f"{rule}, got {show(value)}")
    if wrong := [scope for scope in value if scope not in SCOPES]:
        raise refuse("invalid_value", f"{rule}, got {show(wrong[0])} among them")
    return value


def _model_name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise refuse("invalid_value", f"must be 1-64 letters, digits, dots, - and _, got {show(value)}")
    return value


def _folder(value: Any) -> str:
    """Accept a path below some folder, written plainly: no address, no way up, nothing hidden."""
    names = value.split("/") if isinstance(value, str) else []
    if not 1 <= len(names) <= _MAX_FOLDERS or not all(map(_NAME.fullmatch, names)):
        raise refuse("invalid_value", f"must be a folder in the model root, such as demo/best, got {show(value)}")
    return str(value)


class LoadModelRequest(Body):
    """POST /admin/models."""

    name: Annotated[str, Converted(_model_name)]  # in the API; one that is served already is swapped
    directory: Annotated[str, Converted(_folder)]  # below the model root


class LimitFields(Body):
    """How much a key may use; null: as much as the server gives."""

    requests_per_minute: Limit | None = None
    tokens_per_minute: Limit | None = None
    tokens_per_day: Limit | None = None
    max_concurrent: Limit | None = None

    def as_limits(self) -> KeyLimits:
        """Return the limits as the store keeps them."""
        return KeyLimits(**self.model_dump())


class KeyRights(Body):
    """What can be changed of a key."""

    limits: LimitFields | None = None
    store_mode: Annotated[str, OneOf(tuple(StoreMode))] | None = None
    training_ok: bool | None = None


class NewKeyRequest(KeyRights):
    """POST /admin/keys."""

    name: Annotated[str, Length(200)]
    scopes: Annotated[list[str], Converted(_scopes)] = list(DEFAULT_SCOPES)
    expires_at: Annotated[str, Length(40)] | None = None  # ISO 8601; UTC unless it says more


class ChangeKeyRequest(KeyRights):
    """POST /admin/keys/{id}: only what is given changes."""
