"""Time as the store keeps it: whole microseconds since 1970, UTC."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from banyan.core.errors import ConfigError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
MICROSECONDS = 1_000_000


def utc_microseconds() -> int:
    """Return the time now."""
    return time.time_ns() // 1000


def iso_time(microseconds: int | None) -> str | None:
    """Write a stored time as ISO 8601 in UTC; None stays None."""
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, MICROSECONDS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest).isoformat().replace("+00:00", "Z")


def parse_age(text: str | None) -> int | None:
    """Read a length of time a user typed (90s, 30m, 2h, 7d, 1w) as seconds; None stays None.

    Raises: ConfigError for anything else.
    """
    if text is None:
        return None
    age = re.fullmatch(r"(\d{1,9})([smhdw])", text.strip())
    if age is None:
        raise ConfigError(f"{text!r} is not a length of time; use one such as 12h, 30d or 52w.")
    return int(age[1]) * _UNITS[age[2]]


def parse_time(text: str, *, now: int) -> int:
    """Read a moment a user typed: an age such as 90s, 30m, 2h, 7d, 1w, or an ISO 8601 date (UTC unless it says more).

    Raises: ConfigError for anything else.
    """
    if age := re.fullmatch(r"(\d{1,9})([smhdw])", text.strip()):
        return max(now - int(age[1]) * _UNITS[age[2]] * MICROSECONDS, 0)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a time; use an age such as 30m, 2h or 7d, or a date such as 2026-03-01."
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * MICROSECONDS)
