"""`banyan db`: the database itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import JsonOption, QuietOption, emit, say
from banyan.core.paths import default_database_url
from banyan.store.backup import backup as make_backup
from banyan.store.database import Database
from banyan.store.failures import shown_url
from banyan.store.migrate import upgrade as upgrade_schema
from banyan.store.sql_store import open_database
from banyan.store.verify import VerifyReport, verify_database

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The database: upgrade, verify, backup.")

DatabaseOption = Annotated[str | None, typer.Option("--database", help="Database URL or SQLite file.")]


@app.command()
def upgrade(database: DatabaseOption = None, as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Create the tables, or bring older ones up to date; everything in them stays.

    Example: banyan db upgrade
    """
    opened = Database(database or default_database_url())
    try:
        before, after = upgrade_schema(opened)
    finally:
        opened.close()
    done = "is up to date" if before == after else f"went from {before or 'nothing'} to {after}"
    result = {"database": shown_url(opened.url), "before": before, "after": after}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: say(f"{shown_url(opened.url)} {done}"))


@app.command()
def verify(database: DatabaseOption = None, as_json: JsonOption = False, quiet: QuietOption = False) -> int:
    """Check every reference, state and hash; exit code 10 if something is wrong.

    Example: banyan db verify --json
    """
    opened = open_database(database or default_database_url())
    try:
        report = verify_database(opened)
    finally:
        opened.close()
    result = {"database": shown_url(opened.url), "sound": report.is_sound, "report": report}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: tell(report, shown_url(opened.url)))
    return 0 if report.is_sound else 10


@app.command()
def backup(
    target: Annotated[Path | None, typer.Argument(help="A new file; default: named after the time.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Copy the database to one file, complete and checked, while a server may go on writing.

    Example: banyan db backup backups/monday.db
    """
    opened = Database(database or default_database_url())
    path = target or Path(f"banyan-{datetime.now(UTC):%Y%m%d-%H%M%S}.{'db' if opened.is_sqlite else 'dump'}")
    try:
        size_bytes = make_backup(opened, path)
    finally:
        opened.close()
    result = {"database": shown_url(opened.url), "file": path, "bytes": size_bytes}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: say(f"{path} holds {size_bytes / 1e6:.1f} MB"))


def tell(report: VerifyReport, address: str) -> None:
    """Say what was checked and what is wrong."""
    counts = f"{report.num_requests} requests, {report.num_outputs} outputs, {report.num_artifacts} artifacts"
    say(f"{address}: {counts}, {report.num_dead_letters} dead letters")
    for problem in report.problems:
        say(f"wrong: {problem}")
    say("everything is sound" if report.is_sound else f"{len(report.problems)} problems")
