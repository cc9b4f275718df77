"""A copy of a database in one file, complete and checked before it takes its name; the server may go on writing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from banyan.core.errors import ConfigError, StoreError
from banyan.core.files import as_write_error, fsync_directory
from banyan.store.database import Database, make_private_file
from banyan.store.failures import shown_url, store_errors


def backup(database: Database, target: Path) -> int:
    """Copy a database to a new file (PostgreSQL: in pg_dump's own format) and return its size in bytes.

    Raises: ConfigError if the file exists already or the database lives in memory; StoreError if copying fails;
    SpaceError if the file cannot be written.
    """
    if target.exists():
        raise ConfigError(f"{target} exists already; a backup never replaces a file.", hint="choose another name")
    if database.is_in_memory:
        raise ConfigError("a database in memory ends with its process and has no backup.")
    temporary = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        make_private_file(temporary)
        with store_errors(database.url, doing="back up"):
            _copy_sqlite(database, temporary) if database.is_sqlite else _dump_postgres(database, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(target)
        fsync_directory(target.parent)
        return target.stat().st_size
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise as_write_error(error, target) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _copy_sqlite(database: Database, target: Path) -> None:
    assert database.path is not None
    if not database.path.exists():
        raise StoreError(f"there is no database at {database.path}.", hint="nothing has been stored there yet")
    with closing(sqlite3.connect(database.path, isolation_level=None, timeout=5)) as source:
        source.execute("VACUUM INTO ?", (str(target),))
    with closing(sqlite3.connect(target)) as copy:
        word = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if word != "ok":
        raise StoreError(f"the backup of {database.path} is not whole: {word}.", hint="banyan db verify says more")


def _dump_postgres(database: Database, target: Path) -> None:
    options = ["--format=custom", f"--file={target}", f"--dbname={database.url.database}"]
    run_postgres("pg_dump", options, database, doing="back up")


def run_postgres(program: str, options: Sequence[str], database: Database, *, doing: str) -> None:
    """Run one of PostgreSQL's own programs on a database.

    Raises: StoreError if it is not installed or fails.
    """
    path = shutil.which(program)
    if path is None:
        raise StoreError(f"to {doing} PostgreSQL the program {program} is needed.", hint="install postgresql-client")
    url = database.url
    place = [f"--{name}={value}" for name, value in _place(database).items() if value]
    command = [path, "--no-password", *place, *options]
    # Arguments are visible to every user of the machine, the environment is not. None: all of ours, for ~/.pgpass.
    environment = {"PGPASSWORD": str(url.password)} if url.password else None
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"{program} gave no reason"])[-1]
        raise StoreError(f"cannot {doing} {shown_url(url)}: {reason}.")


def _place(database: Database) -> dict[str, str | None]:
    """Return where the server is; a Unix socket stands in the URL's query (?host=/run/postgresql)."""
    url = database.url
    host, port = url.host or url.query.get("host"), url.port or url.query.get("port")
    return {"host": str(host) if host else None, "port": str(port) if port else None, "username": url.username}
