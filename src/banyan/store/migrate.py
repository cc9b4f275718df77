"""Brings a database's tables to the version this program knows, or says why it cannot."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from banyan.core.errors import StoreError
from banyan.store.database import Database, make_parent_folder, make_private_file
from banyan.store.failures import shown_url

_VERSION_TABLE = "alembic_version"
_POSTGRES_LOCK = 0x62616E79616E  # any number, the same in every process


@cache
def known_versions() -> tuple[str, ...]:
    """Return every schema version this program knows, the newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def newest_version() -> str:
    """Return the schema version this program was written for."""
    return known_versions()[0]


def schema_version(connection: Connection) -> str | None:
    """Return the version of a database's tables; None if it has no tables of ours."""
    if _VERSION_TABLE not in inspect(connection).get_table_names():
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()


def upgrade(database: Database) -> tuple[str | None, str]:
    """Create or upgrade all tables in one transaction and return the versions before and after.

    Two processes may call this at once; the second finds the work done.
    Raises: StoreError if the database is newer than this program, holds foreign tables, or cannot be written.
    """
    make_parent_folder(database)
    if database.path is not None:
        make_private_file(database.path)
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        before = schema_version(connection)
        _refuse_strangers(database, connection, before)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        after = schema_version(connection)
    assert after is not None
    return before, after


def check_version(database: Database) -> None:
    """Make sure that a database's tables are exactly those this program knows.

    Raises: StoreError naming both versions and the way out.
    """
    with database.read() as connection:
        found = schema_version(connection)
        _refuse_strangers(database, connection, found)
    if found is None:
        raise StoreError(f"{shown_url(database.url)} holds no tables yet.", hint="banyan db upgrade creates them")
    if found != newest_version():
        raise StoreError(
            f"{shown_url(database.url)}: schema is at {found}, code needs {newest_version()}.",
            hint="make a backup (banyan db backup), then run: banyan db upgrade",
        )


def has_tables(database: Database) -> bool:
    """Whether a database has been set up, by this or any other version of Banyan."""
    with database.read() as connection:
        return schema_version(connection) is not None


def _config() -> Config:
    config = Config()
    # A % in a path would be read as the start of a variable.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _refuse_strangers(database: Database, connection: Connection, version: str | None) -> None:
    if version is not None and version not in known_versions():
        raise StoreError(
            f"{shown_url(database.url)}: schema {version} is newer than this program, which knows {newest_version()}.",
            hint="update Banyan, or choose another database with --database",
        )
    if version is None and (tables := inspect(connection).get_table_names()):
        raise StoreError(
            f"{shown_url(database.url)} is not a Banyan database: it already holds the table {tables[0]!r}.",
            hint="choose another database with --database",
        )
