"""`banyan outputs`: stored requests and answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.outputs_file import ExportedRow, Written, write_rows
from banyan.cli.progress import TerminalReporter
from banyan.cli.streams import visible
from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.paths import default_database_url
from banyan.core.registry import did_you_mean
from banyan.store.audit import COMMAND_LINE
from banyan.store.dataset_export import training_rows
from banyan.store.erasure import erase as erase_requests
from banyan.store.erasure import erase_letters, forget
from banyan.store.export import exchange_to_json
from banyan.store.keys import find_key
from banyan.store.queries import RequestFilter, StoreQueries, texts_answered, texts_asked
from banyan.store.schema import RequestRow
from banyan.store.similar import Similar
from banyan.store.sql_store import open_database
from banyan.store.times import iso_time, parse_time, utc_microseconds
from banyan.store.types import VECTOR_MEDIA_TYPE, RequestState, StoredExchange

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Stored requests and answers.")

DatabaseOption = Annotated[str | None, typer.Option("--database", help="Database URL or SQLite file.")]
TaskOption = Annotated[str | None, typer.Option("--task", help="Only this task.")]
StateOption = Annotated[str | None, typer.Option("--state", help=f"Only this state: {', '.join(RequestState)}.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Only this model.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="An age (30m, 2h, 7d) or a date (2026-03-01).")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", help="At most so many, the newest first.", min=1)]

_PREVIEW_CHARACTERS = 40


@app.command("list")
def list_outputs(
    task: TaskOption = None,
    state: StateOption = None,
    model: ModelOption = None,
    since: SinceOption = None,
    limit: LimitOption = 20,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show the newest requests.

    Example: banyan outputs list --task classification --since 2h
    """
    wanted = request_filter(task=task, state=state, model=model, since=since, limit=limit)
    with opened(database) as queries:
        report(queries.newest(wanted), as_json=as_json, quiet=quiet)


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="Any part of a prompt or an answer, in any script.")] = None,
    similar: Annotated[
        str | None, typer.Option("--similar", help="Answers that mean something like this text, the nearest first.")
    ] = None,
    embedder: Annotated[
        Path | None,
        typer.Option("--embedder", help="With --similar: the model that compares them; default: the last to answer."),
    ] = None,
    pooling: Annotated[str, typer.Option(help="With --similar: mean of all tokens, or the last one.")] = "mean",
    layer: Annotated[int, typer.Option(help="With --similar: the layer whose vectors are compared.")] = -1,
    task: TaskOption = None,
    state: StateOption = None,
    model: ModelOption = None,
    since: SinceOption = None,
    limit: LimitOption = 20,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show the newest requests whose prompt or answer contains a text, or those whose answers mean something like one.

    Example: banyan outputs search 手写数字七
    Example: banyan outputs search --similar "the path of a file" --limit 5
    """
    if (text is None) == (similar is None):
        raise ConfigError("give either a text or --similar TEXT.", hint="banyan outputs search --help")
    wanted = request_filter(task=task, state=state, model=model, since=since, limit=limit)
    if text is not None:
        with opened(database) as queries:
            report(list(queries.search(text, wanted)), as_json=as_json, quiet=quiet)
        return
    found = nearest(
        similar or "",
        wanted,
        embedder=embedder,
        pooling=pooling,
        layer=layer,
        address=database,
        console=console(quiet=quiet, as_json=as_json),
    )
    report_similar(found, as_json=as_json, quiet=quiet)


@app.command()
def show(
    request_id: Annotated[str, typer.Argument(help="The id, its first characters, or `last`.")],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show one request with all that is stored of it.

    Example: banyan outputs show last
    """
    with opened(database) as queries:
        row = exchange_to_json(queries.show(request_id))
    emit(row, as_json=as_json, quiet=quiet, text=lambda: tell(row))


@app.command()
def replay(
    request_id: Annotated[str, typer.Argument(help="The id, its first characters, or `last`.")],
    model: Annotated[Path | None, typer.Argument(help="The model that answered; default: where it was saved.")] = None,
    base: Annotated[Path | None, typer.Option(help="Where the model of an adapter lies, if that has moved.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask the model the same again and compare the answer byte for byte.

    Example: banyan outputs replay last runs/demo/best
    """
    # Here, for it brings torch with it, which takes seconds that no other of these commands should wait for.
    from banyan.cli.replay import replay_output

    with closing(open_database(database or default_database_url())) as opened_database:
        replay_output(opened_database, request_id, model=model, base=base, device=device, as_json=as_json, quiet=quiet)


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new .jsonl file; default: print.")] = None,
    as_dataset: Annotated[
        bool, typer.Option("--as-dataset", help="Training rows in the task's own format, corrections included.")
    ] = False,
    judged: Annotated[bool, typer.Option("--judged", help="Only what a person rated or corrected.")] = False,
    task: TaskOption = None,
    state: StateOption = None,
    model: ModelOption = None,
    since: SinceOption = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="At most so many requests.", min=1)] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write stored requests as JSON lines, the newest first; pictures go to images/ beside the file.

    A data set holds only what models may be trained on: see `banyan keys change --training`.

    Example: banyan outputs export --task classification --as-dataset --output more.jsonl
    """
    wanted = request_filter(task=task, state=state, model=model, since=since, limit=limit)
    wanted = replace(wanted, judged=judged, for_training=as_dataset)
    with opened(database) as queries:
        num_forbidden = queries.count(replace(wanted, for_training=False)) - queries.count(wanted)
        rows = exported(queries.iterate(wanted), as_dataset=as_dataset, only_judged=judged)
        if output is not None:
            asked = {name: value for name, value in asdict(wanted).items() if value not in (None, False)}
            made_at = iso_time(utc_microseconds())
            facts = {"file": output.name, "made_at": made_at, "filter": asked, "num_forbidden": num_forbidden}
            written = write_rows(output, rows, facts=facts, with_lineage=as_dataset)
            summary = {"file": output, "rows": written.num_rows, "images": written.num_images}
            told = partial(tell_written, output, written, num_forbidden=num_forbidden)
            emit({**summary, "forbidden": num_forbidden}, as_json=as_json, quiet=quiet, text=told)
        elif as_json:
            emit({"rows": [each.row for each in rows]}, as_json=True)
        elif not quiet:
            print_rows(each.row for each in rows)


def tell_written(output: Path, written: Written, *, num_forbidden: int) -> None:
    """Say how much was written, and what was left out because of its key."""
    say(f"{written.num_rows} rows in {output}")
    if num_forbidden:
        say(f"{num_forbidden} left out: their keys do not allow training (banyan keys change NAME --training)")


@app.command()
def erase(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids, whole or their first characters.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="All that this key asked: its id, prefix or name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Delete what was asked and answered, so that no table holds it; counts stay. Backups are not reached.

    Example: banyan outputs erase --key laptop --yes
    """
    if bool(ids) == (key is not None):
        raise ConfigError("give either ids or --key.", hint="banyan outputs erase --help")
    if not yes:
        confirm_erasure(can_ask=sys.stdin.isatty() and not (as_json or quiet))
    with closing(open_database(database or default_database_url())) as opened:
        whole = [StoreQueries(opened).show(each).request.request_id for each in ids or ()]
        key_id = find_key(opened, key).key_id if key else None
        wanted = RequestRow.api_key_id == key_id if key else RequestRow.id.in_(whole)
        num_erased = erase_requests(opened, wanted, actor=COMMAND_LINE, reason="asked")
        if key_id is not None:
            erase_letters(opened, api_key_id=key_id)
        forget(opened)
    emit({"erased": num_erased}, as_json=as_json, quiet=quiet, text=lambda: say(f"{num_erased} requests erased"))


def confirm_erasure(*, can_ask: bool) -> None:
    """Ask whether to go on.

    Raises: ConfigError if nobody can be asked.
    """
    if not can_ask:
        raise ConfigError("erasing stored answers needs a yes, and nobody can be asked.", hint="add --yes")
    typer.confirm("Erase them for good?", abort=True)


def request_filter(
    *, task: str | None, state: str | None, model: str | None, since: str | None, limit: int | None
) -> RequestFilter:
    """Build the filter from what a user typed.

    Raises: UnknownNameError for a state that does not exist; ConfigError for a time that is none.
    """
    if state is not None and state not in list(RequestState):
        raise UnknownNameError(f"no state {state!r}{did_you_mean(state, list(RequestState))}")
    return RequestFilter(
        task=task,
        state=None if state is None else RequestState(state),
        model=model,
        since=None if since is None else parse_time(since, now=utc_microseconds()),
        limit=limit,
    )


@contextmanager
def opened(address: str | None) -> Iterator[StoreQueries]:
    """Give the questions to a database that must be there already."""
    database = open_database(address or default_database_url())
    try:
        yield StoreQueries(database)
    finally:
        database.close()


def exported(exchanges: Iterable[StoredExchange], *, as_dataset: bool, only_judged: bool) -> Iterator[ExportedRow]:
    """Yield each row with the request it came from: as a data set every answer that can be learned from."""
    for exchange in exchanges:
        if not as_dataset:
            yield ExportedRow(row=exchange_to_json(exchange), exchange=exchange)
            continue
        for found in training_rows(exchange, only_judged=only_judged):
            yield ExportedRow(row=dict(found.row), exchange=exchange, choice_index=found.choice_index)


def print_rows(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as JSON lines."""
    for row in rows:
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


def report(found: list[StoredExchange], *, as_json: bool, quiet: bool) -> None:
    """Print a list of requests as a table or as one JSON object."""
    rows = [exchange_to_json(exchange) for exchange in found] if as_json else []
    emit({"outputs": rows}, as_json=as_json, quiet=quiet, text=lambda: tell_all(found))


def nearest(
    text: str,
    wanted: RequestFilter,
    *,
    embedder: Path | None,
    pooling: str,
    layer: int,
    address: str | None,
    console: Console,
) -> list[Similar]:
    """Return the stored requests whose answers come nearest to a text."""
    # Here, for they bring torch with them, which takes seconds that no other of these commands should wait for.
    from banyan.workflows.embedding import embedding_config
    from banyan.workflows.similar_outputs import find_similar

    how = embedding_config(pooling=pooling, layer=layer, normalises=True, splits_long_texts=True)
    with closing(open_database(address or default_database_url())) as database, TerminalReporter(console) as reporter:
        return find_similar(database, text, wanted, embedder=embedder, how=how, reporter=reporter)


def report_similar(found: list[Similar], *, as_json: bool, quiet: bool) -> None:
    """Print requests with how near their answers come."""
    rows = [{"similarity": hit.score, **exchange_to_json(hit.exchange)} for hit in found] if as_json else []
    emit({"outputs": rows}, as_json=as_json, quiet=quiet, text=lambda: tell_similar(found))


def tell_similar(found: list[Similar]) -> None:
    """Print requests for a person, each after its cosine."""
    if not found:
        say("nothing stored fits.")
    for hit in found:
        say(f"similarity {hit.score:.3f}")
        tell_all([hit.exchange])


def tell_all(found: list[StoredExchange]) -> None:
    """Print requests for a person: two lines each, so that an id is never cut off."""
    if not found:
        say("nothing stored fits.")
    for exchange in found:
        request = exchange.request
        received = (iso_time(request.received_at) or "")[:19].replace("T", " ")
        say(f"{request.request_id}  {received}  {request.task}  {exchange.state}")
        say(f"    {_preview(_last(texts_asked(exchange)))} → {_preview(_answered(exchange))}")


def tell(row: dict[str, Any]) -> None:
    """Print one request for a person: its facts, what was asked, what was answered."""
    aside = {"body", "source", "sources", "params", "outputs", "feedback", "partial_text"}
    facts = [(name, value) for name, value in row.items() if name not in aside and value not in (None, "")]
    print_table(("what", "value"), facts)
    say(f"asked    {_readable(row['sources'] or row['source'] or row['body'])}")
    if row["partial_text"]:
        say(f"so far   {_readable(row['partial_text'])}")
    for output in row["outputs"]:
        say(f"answer   {_readable(output['text'])}")
        for name in ("prediction", "artifacts"):
            if output[name]:
                say(f"         {name}: {_readable(output[name])}")
    for feedback in row["feedback"]:
        say(f"feedback {_readable(feedback)}")


def _answered(exchange: StoredExchange) -> str:
    outputs = exchange.answer.outputs if exchange.answer else ()
    kinds = [artifact.media_type == VECTOR_MEDIA_TYPE for output in outputs for artifact in output.artifacts]
    text = next((text for text in texts_answered(exchange) if text), "")
    return text or (f"[{'vectors' if all(kinds) else 'pictures'}: {len(kinds)}]" if kinds else "–")


def _last(texts: Iterable[str]) -> str:
    return ([text for text in texts if text] or [""])[-1]


def _preview(text: str) -> str:
    line = " ".join(text[: 4 * _PREVIEW_CHARACTERS].split())
    line = "".join(character if character.isprintable() else "�" for character in line)
    return line if len(line) <= _PREVIEW_CHARACTERS else line[: _PREVIEW_CHARACTERS - 1] + "…"


def _readable(value: Any) -> str:
    """Return a value for the terminal; control characters of a stored text must not reach it."""
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
