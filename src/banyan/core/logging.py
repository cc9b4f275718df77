"""One line per event: `event key=value key=value`, with units in the key."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any


def format_fields(fields: dict[str, Any]) -> str:
    """Write fields as key=value, quoting what holds spaces, control characters or quotes."""
    return " ".join(f"{key}={_format_value(value)}" for key, value in fields.items())


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    is_plain = text.isprintable() and text and not set(text) & set(' ="')
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def log_event(logger: logging.Logger, event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event with its fields."""
    logger.log(level, "%s %s", event, format_fields(fields))


def set_up_logging(*, level: int = logging.WARNING) -> None:
    """Send Banyan's log lines to standard error. Called once, by the command line's entry point."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("banyan")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
