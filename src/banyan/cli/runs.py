"""`banyan runs`: training runs in the database, side by side, and the disk they take."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from banyan.cli.output import JsonOption, QuietOption, emit, print_table, say
from banyan.core.errors import ConfigError, InputError
from banyan.core.paths import default_database_url
from banyan.store.run_queries import metric_course, show_run
from banyan.store.runs import list_runs
from banyan.store.sql_store import open_database, open_store
from banyan.store.times import iso_time
from banyan.workflows.run_comparison import SCORE, Comparison, compare_runs, save_plot
from banyan.workflows.run_pruning import Prunable, find_prunable, prune

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Training runs: list, show, compare, prune.")

DatabaseOption = Annotated[str | None, typer.Option("--database", help="Database URL or SQLite file.")]

_MAX_CELL = 60  # characters of a recipe's value
_ALL = 1_000_000  # runs
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


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two runs or more: names, ids or beginnings of ids.")],
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG file.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show in which keys the recipes of runs differ, and how far each of them came.

    Example: banyan runs compare first second --plot curves.png
    """
    if len(runs) < 2:
        raise InputError(f"runs compare got {len(runs)} run; there is something to compare from two on.")
    with reading(database) as connection:
        rows = [show_run(connection, wanted) for wanted in runs]
        comparison = compare_runs(rows, [metric_course(connection, row["id"], SCORE) for row in rows])
    if plot is not None:
        save_plot(comparison, plot)
    emit(as_plain(comparison), as_json=as_json, quiet=quiet, text=lambda: tell_comparison(comparison, plot))


@app.command("prune")
def prune_command(
    runs: Annotated[list[str] | None, typer.Argument(help="Names or ids; all runs if none is given.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove best and last, too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Remove checkpoints that neither `best` nor `last` means. Runs that are being trained are left alone.

    Example: banyan runs prune first --yes
    """
    with reading(database) as connection:
        wanted = runs or [row["id"] for row in list_runs(connection, limit=_ALL)]
        rows = sorted((show_run(connection, run) for run in wanted), key=lambda row: row["started_at"], reverse=True)
    found = find_prunable(rows, everything=everything)
    if found and not yes:
        confirm(found, can_ask=sys.stdin.isatty() and not (as_json or quiet))
    with open_store(database or default_database_url()) as store:
        gone = prune(found, store.runs)
    removed = {"removed": [str(item.path) for item in gone], "bytes": sum(item.size_bytes for item in gone)}
    emit(removed, as_json=as_json, quiet=quiet, text=lambda: tell_pruned(gone))


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


def as_plain(comparison: Comparison) -> dict[str, Any]:
    """Return what `--json` prints of a comparison."""
    facts = ("label", "run_id", "state", "num_steps", "loss", "seconds", "scores")
    return {
        "runs": [{name: getattr(run, name) for name in facts} for run in comparison.runs],
        "differences": comparison.differences,
        "scores": comparison.scores,
    }


def tell_comparison(comparison: Comparison, plot: Path | None) -> None:
    """Print what differs, and how the runs did, a column for each run."""
    labels = [run.label for run in comparison.runs]
    if differences := comparison.differences:
        print_table(("recipe key", *labels), [(key, *map(_short, values)) for key, values in differences.items()])
    else:
        say("the recipes are the same.")
    facts: dict[str, Sequence[Any]] = {
        name: [getattr(run, name) for run in comparison.runs] for name in ("state", "num_steps", "seconds", "loss")
    }
    print_table(("result", *labels), [(name, *values) for name, values in {**facts, **comparison.scores}.items()])
    if plot is not None:
        say(f"curves: {plot}")


def confirm(found: Sequence[Prunable], *, can_ask: bool) -> None:
    """Ask before checkpoints are removed.

    Raises: ConfigError where nobody can be asked; typer.Abort if the answer is no.
    """
    if not can_ask:
        raise ConfigError(f"removing {len(found)} checkpoints needs a yes, and nobody can be asked.", hint="add --yes")
    tell_pruned(found, verb="to remove")
    typer.confirm("Remove them?", abort=True)


def tell_pruned(items: Sequence[Prunable], *, verb: str = "removed") -> None:
    """Say which checkpoints go, and how much room they took."""
    for item in items:
        say(f"{verb}: {item.path}")
    say(f"{verb}: {len(items)} checkpoints, {sum(item.size_bytes for item in items) / 2**20:.1f} MiB")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…"


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")
