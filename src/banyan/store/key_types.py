"""What is known of an API key: whose it is, what it opens, how much it may use, and what is kept of its requests."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from banyan.core.config import config
from banyan.core.errors import ConfigError
from banyan.store.times import iso_time

# Ask a model; see, judge and delete one's own stored answers; read the figures of the server; watch training runs
# (their samples quote the data); everything.
SCOPES = ("infer", "outputs", "metrics", "runs", "admin")
DEFAULT_SCOPES = ("infer", "outputs")


class StoreMode(StrEnum):
    """How much is kept of what a key asks and is answered."""

    FULL = "full"
    REDACTED = "redacted"  # addresses, numbers of phones and cards, and secrets are blotted out first
    HASH = "hash"  # hashes and counts only
    NONE = "none"  # that there was a request, and how it ended


@config
class KeyLimits:
    """How much one key may use; None: as much as the server gives."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None  # of prompts and answers together
    tokens_per_day: int | None = None  # of a day in UTC
    max_concurrent: int | None = None  # requests at once

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and value < 1:
                raise ConfigError(f"{each.name}={value} would let nothing through; it must be at least 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key without its secret."""

    key_id: str
    name: str
    prefix: str  # the first characters, to recognise it by
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    limits: KeyLimits = field(default_factory=KeyLimits)
    store_mode: StoreMode = StoreMode.FULL
    training_ok: bool = False  # whether models may be trained on what the key asks and is answered

    def is_valid(self, *, now: int) -> bool:
        """Whether the key opens anything at this moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def opens(self, scope: str) -> bool:
        """Whether the key was made for something."""
        return scope in self.scopes or "admin" in self.scopes


def key_to_json(key: ApiKey, *, now: int) -> dict[str, Any]:
    """Return what may be told of a key; its secret is not known here."""
    return {
        "id": key.key_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "state": "revoked" if key.revoked_at is not None else "valid" if key.is_valid(now=now) else "expired",
        "created_at": iso_time(key.created_at),
        "expires_at": iso_time(key.expires_at),
        "revoked_at": iso_time(key.revoked_at),
        "last_used_at": iso_time(key.last_used_at),
        "limits": {name: value for name, value in asdict(key.limits).items() if value is not None},
        "store_mode": str(key.store_mode),
        "training_ok": key.training_ok,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class CreatedKey:
    """A fresh key with its secret, which nobody can read again."""

    key: ApiKey
    secret: str = field(repr=False)
