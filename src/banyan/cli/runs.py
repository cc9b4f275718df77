"""`banyan runs`: training runs in the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from banyan.cli.output import JsonOption, QuietOption, emit, print_table, say
from banyan.core.paths import default_database_url
from banyan.store.run_queries import show_run
from banyan.store.runs import list_runs
from banyan.store.sql_store import open_database
from banyan.store.times import iso_time

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Training runs: list, show.")

DatabaseOption = Annotated[str | None, typer.Option("--database", help="Database URL or SQLite file.")]

_TIMES = {"started_at", "ended_at", "created_at", "at"}
_FACTS = ("id", "name", "kind", "state", "exit_code", "started_at", "ended_at", "directory", "seed", "code_version")


@app.command("list")
def list_command(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest first.")] = 20,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show the newest runs.

    Example: banyan runs list
    """
    with reading(database) as connection:
        rows = [readable(row) for row in list_runs(connection, limit=limit)]
    emit({"runs": rows}, as_json=as_json, quiet=quiet, text=lambda: tell_all(rows))


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="A run's name, its id or the beginning of it, or `last`.")],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show one run: its newest scores, its checkpoints, and what happened.

    Example: banyan runs show demo
    """
    with reading(database) as connection:
        row = readable(show_run(connection, run))
    emit(row, as_json=as_json, quiet=quiet, text=lambda: tell(row))


@contextmanager
def reading(address: str | None) -> Iterator[Connection]:
    """Give a connection to a database that must be there already."""
    database = open_database(address or default_database_url())
    try:
        with database.read() as connection:
            yield connection
    finally:
        database.close()


def readable(value: Any) -> Any:
    """Return rows with their times written out."""
    if isinstance(value, list):
        return [readable(item) for item in value]
    if not hasattr(value, "items"):
        return value
    return {key: iso_time(item) if key in _TIMES else readable(item) for key, item in value.items()}


def tell_all(rows: list[dict[str, Any]]) -> None:
    """Print the runs as a table."""
    if not rows:
        say("no run has been recorded yet.")
        return
    cells = [(row["name"], row["state"], _minute(row["started_at"]), row["directory"], row["id"]) for row in rows]
    print_table(("run", "state", "started (UTC)", "directory", "id"), cells)


def tell(row: dict[str, Any]) -> None:
    """Print one run for a person."""
    print_table(("what", "value"), [(name, row[name]) for name in _FACTS])
    if row["metrics"]:
        print_table(("score", "step", "value"), [(name, m["step"], m["value"]) for name, m in row["metrics"].items()])
    if kept := [c for c in row["checkpoints"] if c["state"] == "valid"]:
        print_table(("step", "checkpoint", "bytes"), [(c["step"], c["path"], c["size_bytes"]) for c in kept])
    for event in row["events"]:
        detail = "  ".join(f"{key}={value}" for key, value in event["detail"].items())
        say(f"{_minute(event['at'])}  step {event['step']}: {event['kind']}  {detail}".rstrip())


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")
