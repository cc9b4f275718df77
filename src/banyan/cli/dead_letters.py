"""`banyan db dead-letters`: what the database refused, and giving it to the database again."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, emit, say
from banyan.cli.streams import visible
from banyan.core.paths import default_database_url
from banyan.store.letter_replay import STORED, DeadLetter, Replayed, list_dead_letters, replay_dead_letters
from banyan.store.queries import StoreQueries
from banyan.store.sql_store import open_database, open_store
from banyan.store.times import iso_time

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Writes that the database refused: list, replay.")

DatabaseOption = Annotated[str | None, typer.Option("--database", help="Database URL or SQLite file.")]


@app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most so many, the newest first.", min=1)] = 50,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show what the database refused, and why; nothing of what was asked and answered.

    Example: banyan db dead-letters list
    """
    with closing(open_database(database or default_database_url())) as opened:
        found = list_dead_letters(opened, limit=limit)
        num_letters = StoreQueries(opened).counts().num_dead_letters
    result = {"dead_letters": [_facts(letter) for letter in found], "total": num_letters}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: _tell(found, num_letters))


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids, whole or their first characters; default: all.")] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Give refused writes to the database again, while a server may go on; exit code 10 if one of them stays.

    Example: banyan db dead-letters replay
    """
    done: list[Replayed] = []
    with open_store(database or default_database_url(), create=False) as store:
        for each in replay_dead_letters(store, ids or ()):
            done.append(each)
            if not (as_json or quiet):
                say(visible(f"{each.letter.letter_id}  {each.letter.source}: {_outcome(each)}"))
    left = sum(not each.is_gone for each in done)
    stored = sum(each.is_gone and each.said == STORED for each in done)
    counts = {"stored": stored, "known": len(done) - stored - left, "left": left}
    rows = [{**_facts(each.letter), "gone": each.is_gone, "said": each.said} for each in done]
    summary = f"{stored} stored, {counts['known']} were not missing any more, {left} left"
    emit({**counts, "dead_letters": rows}, as_json=as_json, quiet=quiet, text=lambda: say(summary))
    return 10 if left else 0


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.letter_id,
        "at": iso_time(letter.at),
        "operation": letter.source,
        "request_id": letter.request_id,
        "bytes": len(letter.payload),
        "error": letter.error,
    }


def _tell(found: list[DeadLetter], num_letters: int) -> None:
    for letter in found:
        about = f"  request {letter.request_id}" if letter.request_id else ""
        say(f"{letter.letter_id}  {(iso_time(letter.at) or '')[:19].replace('T', ' ')}  {letter.source}{about}")
        say(f"    {visible(letter.error)}")
    say(f"{num_letters} dead letters" + (f", of which {len(found)} are shown" if len(found) < num_letters else ""))


def _outcome(each: Replayed) -> str:
    return each.said if each.is_gone else f"stays: {each.said}"
