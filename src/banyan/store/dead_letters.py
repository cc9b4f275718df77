"""Writes that the database will not take: kept whole, with the reason, where a person can read them."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.exc import DBAPIError

from banyan.core.errors import BanyanError
from banyan.core.ids import new_ulid
from banyan.core.logging import log_event
from banyan.store.failures import RefusedRowError
from banyan.store.rows import WriteOperation
from banyan.store.schema import DeadLetterRow
from banyan.store.times import utc_microseconds

UNWRITABLE, NOT_JSON = "unwritable", "not_json"  # in a payload that does not hold all of its write

logger = logging.getLogger("banyan.store")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a write was not taken; and, if so, why the dead letters did not take it either."""

    error: Exception
    failure: Exception | None = None


def write_dead_letter(connection: Connection, operation: WriteOperation, error: Exception) -> None:
    """Put a refused write among the dead letters."""
    row = {
        "id": new_ulid(),
        "at": utc_microseconds(),
        "source": type(operation).__name__,
        "payload": dead_letter_json(operation),
        "error": reason_of(error),
    }
    connection.execute(insert(DeadLetterRow).values(row))


def report_refusal(operation: WriteOperation, refused: Refused) -> Exception:
    """Log a refused write, without its content, and return what whoever waits for it hears."""
    error, name = refused.error, type(operation).__name__
    log_event(logger, "store_refused_row", level=logging.ERROR, operation=name, error=type(error).__name__)
    if isinstance(error, BanyanError):
        return error
    kept = "it is kept in dead_letters"
    if refused.failure is not None:
        kept = f"and dead_letters could not take it either ({type(refused.failure).__name__})"
    return RefusedRowError(f"the database refused a row: {reason_of(error).rstrip('.')}; {kept}.")


def dead_letter_json(operation: WriteOperation) -> str:
    """Write everything in an operation as ASCII JSON that any database can hold; or why JSON cannot.

    What JSON does not know stands there as it shows itself, and its kind under `not_json`.
    """
    strange: list[str] = []

    def default(value: Any) -> Any:
        if isinstance(value, bytes):
            return {"base64": base64.b64encode(value).decode()}
        strange.append(type(value).__name__)
        return repr(value)

    try:
        text = json.dumps(operation.payload(), ensure_ascii=True, default=default)
        return text if not strange else json.dumps({NOT_JSON: ", ".join(sorted(set(strange))), **json.loads(text)})
    except (TypeError, ValueError, RecursionError) as error:  # names that are no texts, values that hold themselves
        return json.dumps({UNWRITABLE: type(error).__name__})


def reason_of(error: Exception) -> str:
    """Return why a write was refused in one line of ASCII, without its content."""
    if isinstance(error, BanyanError):
        return _ascii(error.message)
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    first_line = str(original).splitlines()[0] if str(original) else ""
    return _ascii(f"{type(error).__name__}: {first_line}")


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
