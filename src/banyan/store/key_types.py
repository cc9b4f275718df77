"""What is known of an API key: whose it is, what it opens, how much it may use, and what is kept of its requests."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum

from banyan.core.config import config
from banyan.core.errors import ConfigError

# Ask a model; see, judge and delete one's own stored answers; read the figures of the server; everything.
SCOPES = ("infer", "outputs", "metrics", "admin")
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


@dataclass(frozen=True, kw_only=True, slots=True)
class CreatedKey:
    """A fresh key with its secret, which nobody can read again."""

    key: ApiKey
    secret: str = field(repr=False)
