"""`banyan runs`: training runs in the database."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, emit, print_table
from banyan.core.paths import default_database_url
from banyan.store.runs import list_runs
from banyan.store.sql_store import open_database
from banyan.store.times import iso_time

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Training runs.")


@app.callback()
def runs() -> None:
    """Training runs in the database."""


@app.command("list")
def list_command(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest first.")] = 20,
    database: Annotated[str | None, typer.Option(help="Database URL or SQLite file.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show the newest runs.

    Example: banyan runs list
    """
    found = open_database(database or default_database_url())
    try:
        with found.read() as connection:
            rows = [dict(row) for row in list_runs(connection, limit=limit)]
    finally:
        found.close()
    emit({"runs": rows}, as_json=as_json, quiet=quiet, text=lambda: show(rows))


def show(rows: list[dict[str, Any]]) -> None:
    """Print the runs as a table."""
    cells = [(row["name"], row["kind"], row["state"], iso_time(row["started_at"]), row["directory"]) for row in rows]
    print_table(("run", "kind", "state", "started", "directory"), cells)
