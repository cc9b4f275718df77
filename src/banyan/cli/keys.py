"""`banyan keys`: API keys of the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.paths import default_database_url
from banyan.core.registry import did_you_mean
from banyan.store.database import Database
from banyan.store.key_types import DEFAULT_SCOPES, SCOPES, ApiKey, KeyLimits, StoreMode, key_to_json
from banyan.store.keys import change_key, create_key, find_key, list_keys, revoke_key
from banyan.store.sql_store import open_database
from banyan.store.times import iso_time, parse_time, utc_microseconds

app = typer.Typer(add_completion=False, no_args_is_help=True, help="API keys of the server.")

DatabaseOption = Annotated[str | None, typer.Option("--database", help="Database URL or SQLite file.")]
RequestsOption = Annotated[int | None, typer.Option("--requests-per-minute", help="At most so many; 0: no limit.")]
TokensOption = Annotated[int | None, typer.Option("--tokens-per-minute", help="Of prompts and answers; 0: no limit.")]
DailyOption = Annotated[int | None, typer.Option("--tokens-per-day", help="Of a day in UTC; 0: no limit.")]
ConcurrentOption = Annotated[int | None, typer.Option("--max-concurrent", help="Requests at once; 0: no limit.")]
StoreOption = Annotated[
    str | None, typer.Option("--store", help=f"What is kept of its requests: {', '.join(StoreMode)}; at first: full.")
]
TrainingOption = Annotated[
    bool | None, typer.Option("--training/--no-training", help="May models learn from what it asks? At first: no.")
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, for example laptop.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help=f"What it opens, repeatable: {', '.join(SCOPES)}.")
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="The date it ends, for example 2027-01-31.")] = None,
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    tokens_per_day: DailyOption = None,
    max_concurrent: ConcurrentOption = None,
    store: StoreOption = None,
    training: TrainingOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a key and print its secret, once; only a hash is kept.

    Example: banyan keys create laptop --expires 2027-01-31 --requests-per-minute 60
    """
    limits = _limits(KeyLimits(), requests_per_minute, tokens_per_minute, tokens_per_day, max_concurrent)
    with opened(database, create=True) as found:
        made = create_key(
            found,
            name=name,
            scopes=scope or DEFAULT_SCOPES,
            expires_at=_moment(expires),
            limits=limits,
            store_mode=_mode(store) or StoreMode.FULL,
            training_ok=bool(training),
        )
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
def change(
    key: Annotated[str, typer.Argument(help="The key's id, prefix or name.")],
    requests_per_minute: RequestsOption = None,
    tokens_per_minute: TokensOption = None,
    tokens_per_day: DailyOption = None,
    max_concurrent: ConcurrentOption = None,
    store: StoreOption = None,
    training: TrainingOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Change what a key may use and what is kept of its requests; what is not named stays as it is.

    Example: banyan keys change laptop --tokens-per-day 200000 --training
    """
    with opened(database) as found:
        known = find_key(found, key)
        limits = _limits(known.limits, requests_per_minute, tokens_per_minute, tokens_per_day, max_concurrent)
        changed = change_key(found, known.key_id, limits=limits, store_mode=_mode(store), training_ok=training)
    told = describe(changed)
    emit(told, as_json=as_json, quiet=quiet, text=lambda: say(f"{changed.name} ({changed.prefix}…): {_rights(told)}"))


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
    return key_to_json(key, now=utc_microseconds())


def tell_all(keys: list[dict[str, Any]]) -> None:
    """Print the keys as a table for a person."""
    if not keys:
        say("there are no keys yet; banyan keys create NAME makes one.")
        return
    columns = ("name", "prefix", "state", "scopes", "last_used_at")
    rows = [[*(_cell(key[column]) for column in columns), _rights(key)] for key in keys]
    print_table((*columns, "limits, store, training"), rows)


def _cell(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def _rights(key: dict[str, Any]) -> str:
    limits = [f"{value} {name.replace('_', ' ')}" for name, value in key["limits"].items()]
    return ", ".join([*limits, key["store_mode"], "training" if key["training_ok"] else "no training"])


def _limits(known: KeyLimits, *given: int | None) -> KeyLimits:
    """Return the limits with those changed that were given; 0 takes one away."""
    names = ("requests_per_minute", "tokens_per_minute", "tokens_per_day", "max_concurrent")
    changes = {name: value or None for name, value in zip(names, given, strict=True) if value is not None}
    return replace(known, **changes)


def _mode(text: str | None) -> StoreMode | None:
    if text is not None and text not in list(StoreMode):
        raise UnknownNameError(f"no store mode {text!r}{did_you_mean(text, list(StoreMode))}")
    return None if text is None else StoreMode(text)


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    now = utc_microseconds()
    moment = parse_time(text, now=now)
    if moment <= now:
        raise ConfigError(f"expires={text!r} lies in the past; the key would open nothing.")
    return moment
