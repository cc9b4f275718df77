"""What a verb says: one JSON object with `--json`, nothing with `--quiet`, words for a person otherwise."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

_WIDE = 10_000  # characters

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def console(*, quiet: bool = False, as_json: bool = False) -> Console:
    """Return where progress and remarks go: standard error, so that standard output stays clean; silent if asked."""
    return Console(stderr=True, quiet=quiet or as_json, highlight=False)


def emit(result: Any, *, as_json: bool = False, quiet: bool = False, text: Callable[[], None] | None = None) -> None:
    """Report a verb's result: as one JSON object, not at all, or through `text` (which prints it for a person)."""
    if as_json:
        sys.stdout.write(json.dumps(to_plain(result), ensure_ascii=False, allow_nan=False) + "\n")
    elif not quiet and text is not None:
        text()


def say(line: str = "") -> None:
    """Print one line on standard output as it is, without markup."""
    sys.stdout.write(line + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """Print a table on standard output; cells are shown as they are, and whole."""
    table = Table(title=title, header_style="bold", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    # Only a terminal has an edge at which lines must be broken.
    out = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _WIDE)
    out.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def to_plain(value: Any) -> Any:
    """Turn dataclasses, enums, paths and tuples into what JSON knows; numbers that JSON lacks become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
