"""Reading many rows for a task: a few bad ones are left out and reported, many stop the work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.tasks.base import Task

E = TypeVar("E")

_LEAVE_OUT = "mend or remove them, or raise data.max_bad_share to leave them out"


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that was left out, and why."""

    number: int  # counted from 1
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples(Generic[E]):
    """The examples of a file, and the rows that could not be read."""

    examples: tuple[E, ...]
    bad_rows: tuple[BadRow, ...]


def read_examples(task: Task[E], rows: Iterable[Row], *, max_bad_fraction: float = 0.01) -> Examples[E]:
    """Parse all rows of a file, leaving out bad ones while they are few.

    Raises: DataError naming the first bad row, if more than `max_bad_fraction` of the rows are bad.
    """
    examples: list[E] = []
    bad_rows: list[BadRow] = []
    first_error: DataError | None = None
    number = 0
    for number, row in enumerate(rows, start=1):
        try:
            examples.extend(task.examples_from_row(row))
        except DataError as error:
            first_error = first_error or error
            bad_rows.append(BadRow(number=number, problem=error.message))
    if first_error is not None and len(bad_rows) > max_bad_fraction * number:
        raise DataError(
            f"task {task.name} cannot read {len(bad_rows)} of {number} rows; "
            f"row {bad_rows[0].number}: {first_error.message}",
            hint=_LEAVE_OUT if max_bad_fraction > 0 and examples else first_error.hint,
        ) from first_error
    return Examples(examples=tuple(examples), bad_rows=tuple(bad_rows))
