"""Reading the columns of a row, and saying which one is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from banyan.core.errors import DataError
from banyan.core.registry import did_you_mean
from banyan.core.types import Row

T = TypeVar("T")

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def row_from_json(text: str) -> Any:
    """Return the row that somebody wrote as JSON on one line.

    Raises: DataError for what is no JSON, is nested without end, or holds a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is no JSON that can be read: {error}") from error


def rename_columns(row: Row, columns: Mapping[str, str]) -> Row:
    """Return the row under our column names, where the user's differ; a row that has ours already may keep them.

    Raises: DataError if the row has neither.
    """
    if not columns:
        return row
    renamed = dict(row)
    for ours, theirs in columns.items():
        if row.get(theirs) is not None or row.get(ours) is None:
            renamed[ours] = column(row, theirs, ours=ours)
    return renamed


def needed_columns(columns: Mapping[str, str], with_answer: bool, *, answers: Collection[str]) -> dict[str, str]:
    """Leave out the columns of the answer where only the question is read."""
    return {ours: theirs for ours, theirs in columns.items() if with_answer or ours not in answers}


def column(row: Row, name: str, *, ours: str | None = None) -> Any:
    """Return one value of the row; `ours` is what the task calls it, where that differs.

    Raises: DataError naming the columns there are.
    """
    if row.get(name) is None:
        example = f"{ours or name}: {next(iter(row), 'my_column')}"
        raise DataError(
            f"the row has no {name!r}; its columns: {', '.join(map(str, row)) or 'none'}.",
            hint=f"name the column in the recipe, for example columns: {{{example}}}",
        )
    return row[name]


def text_column(row: Row, name: str) -> str:
    """Return one value of the row that must be a text with something in it.

    Raises: DataError if it is missing, not a text, or blank.
    """
    value = column(row, name)
    if isinstance(value, bool | int | float):
        value = str(value)
    if not isinstance(value, str):
        raise DataError(f"column {name!r} must hold a text, got {type(value).__name__}.")
    if not value.strip():
        raise DataError(f"column {name!r} is blank; every example needs a text there.")
    return value


def list_column(row: Row, name: str) -> list[Any]:
    """Return one value of the row that must be a list.

    Raises: DataError if it is missing or something else.
    """
    value = column(row, name)
    if not isinstance(value, list | tuple):
        raise DataError(f"column {name!r} must hold a list, got {type(value).__name__}.")
    return list(value)


def read_each(rows: Iterable[Row], read: Callable[[Row], T]) -> list[T]:
    """Return what could be read of the rows; a few bad ones do not matter where all are looked at together.

    Raises: DataError of the first row if none can be read.
    """
    results: list[T] = []
    first_error: DataError | None = None
    for row in rows:
        try:
            results.append(read(row))
        except DataError as error:
            first_error = first_error or error
    if first_error is not None and not results:
        raise first_error
    return results


def fill_template(template: str, row: Row) -> str:
    """Put the row's values in place of `{column}`; other braces stay as they are.

    Raises: DataError if the row has no such column.
    """
    return _PLACEHOLDER.sub(lambda match: str(column(row, match.group(1))), template)


def source_text(row: Row, *, template: str | None) -> str:
    """Return the text a task is about: the filled template, or the column `text`.

    A row that has `text` and none of the template's columns (a question as a person asks it) needs no template.
    Raises: DataError if a column is missing or the text is blank.
    """
    if template is None or (row.get("text") is not None and row.keys().isdisjoint(_PLACEHOLDER.findall(template))):
        return text_column(row, "text")
    return text_column({"text": fill_template(template, row)}, "text")


def label_column(row: Row, labels: tuple[str, ...]) -> str:
    """Return the row's label as a word: its `label_name`, its `label`, or the label of that number.

    Raises: DataError if the label is not one of `labels` (when there are any).
    """
    value = row.get("label_name")
    if value is None:
        value = column(row, "label")
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and str(value) not in labels
        and value in range(len(labels))
    ):
        return labels[value]
    label = str(value)
    if labels and label not in labels:
        raise DataError(f"label {label!r} is not one of the task's {len(labels)} labels{did_you_mean(label, labels)}")
    return label
