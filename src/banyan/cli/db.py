"""`banyan db`: the database itself."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli import dead_letters
from banyan.cli.output import JsonOption, QuietOption, emit, print_table, say
from banyan.core.errors import ConfigError
from banyan.core.paths import default_database_url
from banyan.store.audit import list_audit
from banyan.store.backup import backup as make_backup
from banyan.store.database import Database
from banyan.store.failures import shown_url
from banyan.store.migrate import newest_version
from banyan.store.migrate import upgrade as upgrade_schema
from banyan.store.restoring import restore as restore_backup
from banyan.store.retention import RetentionPolicy
from banyan.store.retention import purge as purge_store
from banyan.store.sql_store import open_database
from banyan.store.times import iso_time, parse_age, utc_microseconds
from banyan.store.verify import VerifyReport, verify_database

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The database: upgrade, verify, backup, restore, purge, audit, dead letters.",
)
app.add_typer(dead_letters.app, name="dead-letters")

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


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A file that `banyan db backup` wrote.")],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fill a new database from a backup; one that is there already is never replaced.

    Example: banyan db restore backups/monday.db --database runs/again.db
    """
    opened = Database(database or default_database_url())
    try:
        version = restore_backup(source, opened)
    finally:
        opened.close()
    address = shown_url(opened.url)
    older = "" if version == newest_version() else f"; run: banyan db upgrade --database {address}"
    result = {"database": address, "file": source, "version": version}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: say(f"{address} is restored from {source}{older}"))


@app.command()
def purge(
    content: Annotated[
        str | None, typer.Option("--content", help="Erase what was asked and answered longer ago: 30d, 12w.")
    ] = None,
    facts: Annotated[
        str | None, typer.Option("--facts", help="Delete the rest of requests, too, that are older: 365d.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete what has been kept long enough, while a server may go on.

    Example: banyan db purge --content 30d --facts 365d
    """
    if content is None and facts is None:
        raise ConfigError("nothing says how long things are kept.", hint="for example: banyan db purge --content 30d")
    opened = open_database(database or default_database_url())
    try:
        policy = RetentionPolicy(content_seconds=parse_age(content), facts_seconds=parse_age(facts))
        gone = purge_store(opened, policy, now=utc_microseconds())
    finally:
        opened.close()
    said = f"erased the content of {gone.num_contents} requests, deleted {gone.num_requests} requests"
    emit({"database": shown_url(opened.url), "purged": gone}, as_json=as_json, quiet=quiet, text=lambda: say(said))


@app.command()
def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many, the newest first.", min=1)] = 50,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show who changed keys, deleted answers or read those of others.

    Example: banyan db audit --limit 20
    """
    opened = open_database(database or default_database_url())
    try:
        found = list_audit(opened, limit=limit)
    finally:
        opened.close()
    rows = [{"number": number, **asdict(entry), "at": iso_time(entry.at)} for number, entry in found]
    emit({"audit": rows}, as_json=as_json, quiet=quiet, text=lambda: tell_audit(rows))


def tell_audit(rows: list[dict[str, Any]]) -> None:
    """Print audit entries for a person."""
    columns = ("number", "at", "actor", "action", "object_id")
    print_table(columns, [[row[column] for column in columns] for row in rows]) if rows else say(
        "nothing is noted yet."
    )


def tell(report: VerifyReport, address: str) -> None:
    """Say what was checked and what is wrong."""
    counts = f"{report.num_requests} requests, {report.num_outputs} outputs, {report.num_artifacts} artifacts"
    say(f"{address}: {counts}, {report.num_dead_letters} dead letters")
    for problem in report.problems:
        say(f"wrong: {problem}")
    say("everything is sound" if report.is_sound else f"{len(report.problems)} problems")
