"""Puts a backup back: into a place where nothing is yet, complete and checked before it takes its name."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from banyan.core.errors import ConfigError, FileError, StoreError
from banyan.core.files import as_write_error, fsync_directory
from banyan.store.backup import run_postgres
from banyan.store.database import Database, make_parent_folder, make_private_file, parse_address
from banyan.store.failures import shown_url, store_errors
from banyan.store.migrate import has_tables, schema_version


def restore(source: Path, database: Database) -> str:
    """Fill an empty database from what `backup` wrote and return the version of its tables.

    Raises: FileError if there is no such file; ConfigError if the database is not empty, or lives in memory; StoreError
    if the file is no whole backup; SpaceError if the database cannot be written.
    """
    if not source.is_file():
        raise FileError(f"{source} not found.", hint="banyan db backup makes such files")
    if database.is_in_memory:
        raise ConfigError("a database in memory ends with its process; name a file or a PostgreSQL.")
    if database.is_sqlite:
        _copy_sqlite(source, database)
    else:
        _fill_postgres(source, database)
    with database.read() as connection:
        return schema_version(connection) or ""


def _copy_sqlite(source: Path, database: Database) -> None:
    target = database.path
    assert target is not None
    if target.exists():
        raise _not_empty(database)
    _check_sqlite(source)
    make_parent_folder(database)
    temporary = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    try:
        make_private_file(temporary)
        shutil.copyfile(source, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(target)
        fsync_directory(target.parent)
    except OSError as error:
        raise as_write_error(error, target) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_sqlite(source: Path) -> None:
    """Refuse what is no whole backup; the file itself is opened for reading only and stays as it is."""
    url = parse_address(str(source))
    with (
        store_errors(url, doing="read"),
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as copy,
    ):
        word = copy.execute("PRAGMA integrity_check").fetchone()[0]
        tables = {row[0] for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if word != "ok":
        raise StoreError(f"{source} is not whole: {word}.")
    if not {"alembic_version", "requests"} <= tables:
        raise StoreError(f"{source} is not a Banyan database.", hint="banyan db backup makes such files")


def _fill_postgres(source: Path, database: Database) -> None:
    if has_tables(database):
        raise _not_empty(database)
    options = ["--single-transaction", "--exit-on-error", "--no-owner", f"--dbname={database.url.database}"]
    run_postgres("pg_restore", [*options, str(source)], database, doing="restore")


def _not_empty(database: Database) -> ConfigError:
    return ConfigError(
        f"{shown_url(database.url)} exists already; a restore never replaces a database.",
        hint="choose another place with --database, or move the old one away",
    )
