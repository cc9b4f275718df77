"""`banyan keys`: API keys of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.core.errors import ConfigError
from banyan.core.paths import default_database_url
from banyan.store.database import Database
from banyan.store.key_types import DEFAULT_SCOPES, SCOPES, ApiKey
from banyan.store.keys import create_key, list_keys, revoke_key
from banyan.store.sql_store import open_database
from banyan.store.times import iso_time, parse_time, utc_microseconds

app = typer.Typer(add_completion=False, no_args_is_help=True, help="API keys of the server.")

DatabaseOption = Annotated[str | None, typer.Option("--database", help="Database URL or SQLite file.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for example laptop.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help=f"What it opens, repeatable: {', '.join(SCOPES)}.")
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="The date it ends, for example 2027-01-31.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a key and print its secret, once; only a hash is kept.

    Example: banyan keys create laptop --expires 2027-01-31
    """
    with opened(database, create=True) as found:
        made = create_key(found, name=name, scopes=scope or DEFAULT_SCOPES, expires_at=_moment(expires))
    console(quiet=quiet, as_json=as_json).print("This secret is shown only now:")
    # Even with --quiet: a key that nobody saw would be of no use.
    emit({**describe(made.key), "secret": made.secret}, as_json=as_json, text=lambda: say(made.secret))


@app.command("list")
def list_all(database: DatabaseOption = None, as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Show all keys, the newest first, without their secrets.

    Example: banyan keys list
    """
    with opened(database) as found:
        keys = [describe(key) for key in list_keys(found)]
    emit({"keys": keys}, as_json=as_json, quiet=quiet, text=lambda: tell_all(keys))


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id, prefix or name.")],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a key useless from now on.

    Example: banyan keys revoke laptop
    """
    with opened(database) as found:
        gone = revoke_key(found, key)
    said = f"{gone.name} ({gone.prefix}…) is revoked since {iso_time(gone.revoked_at)}"
    emit(describe(gone), as_json=as_json, quiet=quiet, text=lambda: say(said))


@contextmanager
def opened(address: str | None, *, create: bool = False) -> Iterator[Database]:
    """Give a database and let go of it afterwards."""
    database = open_database(address or default_database_url(), create=create)
    try:
        yield database
    finally:
        database.close()


def describe(key: ApiKey) -> dict[str, Any]:
    """Return what may be told of a key."""
    return {
        "id": key.key_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": list(key.scopes),
        "state": _state(key),
        "created_at": iso_time(key.created_at),
        "expires_at": iso_time(key.expires_at),
        "revoked_at": iso_time(key.revoked_at),
        "last_used_at": iso_time(key.last_used_at),
    }


def tell_all(keys: list[dict[str, Any]]) -> None:
    """Print the keys as a table for a person."""
    if not keys:
        say("there are no keys yet; banyan keys create NAME makes one.")
        return
    columns = ("name", "prefix", "state", "scopes", "last_used_at")
    print_table(columns, [[_cell(key[column]) for column in columns] for key in keys])


def _cell(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.is_valid(now=utc_microseconds()) else "expired"


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    now = utc_microseconds()
    moment = parse_time(text, now=now)
    if moment <= now:
        raise ConfigError(f"expires={text!r} lies in the past; the key would open nothing.")
    return moment
