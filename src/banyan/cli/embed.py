"""`banyan embed MODEL TEXTS…`: the vectors of texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.base_model import BaseOption
from banyan.cli.output import JsonOption, QuietOption, console, emit, say
from banyan.cli.progress import TerminalReporter
from banyan.core.errors import ConfigError, InputError
from banyan.runtime.loading import load
from banyan.workflows.embedding import (
    Embedded,
    check_output,
    embed_texts,
    embedding_config,
    lines_of,
    read_texts,
    vector_lines,
    write_vectors,
)

app = typer.Typer(add_completion=False)


@app.command()
def embed(
    model: Annotated[Path, typer.Argument(help="A model directory, for example runs/demo/best")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; `-` reads one a line from standard input.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Texts: one a line (txt), or a column of jsonl, csv, parquet …")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column of the file that holds the text.")] = None,
    pooling: Annotated[str, typer.Option(help="mean of all tokens, or the last one.")] = "mean",
    layer: Annotated[
        int, typer.Option(help="0: embeddings; n: after n blocks; -1: the last, -2 the one before …")
    ] = -1,
    normalise: Annotated[
        bool, typer.Option("--normalise/--no-normalise", help="Vectors of length 1, or as they are.")
    ] = True,
    refuse_long: Annotated[
        bool, typer.Option("--refuse-long", help="Refuse a text that does not fit, rather than read it in windows.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", "--out", help="A .npy, .safetensors or .jsonl file.")
    ] = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn texts into vectors; without --out they are printed as JSON lines.

    Example: banyan embed runs/demo/best "three days ago" "the day before yesterday"
    """
    how = embedding_config(pooling=pooling, layer=layer, normalises=normalise, splits_long_texts=not refuse_long)
    if out is not None:
        check_output(out)
    given = given_texts(texts or [], file, column=column)
    with load(model, base=base) as loaded, TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        reporter.stage("embed")
        embedded = embed_texts(loaded, given, how, reporter=reporter)
    if out is not None:
        write_vectors(out, embedded)
    emit(summary(embedded, out), as_json=as_json, quiet=quiet, text=lambda: tell(embedded, out))


def given_texts(texts: list[str], file: Path | None, *, column: str | None) -> list[str]:
    """Return the texts that were typed, piped in, or stand in a file.

    Raises: ConfigError unless they come one way; InputError if nothing was piped in; FileError, DataError for a file.
    """
    if bool(texts) == (file is not None):
        raise ConfigError("give either texts or --file, not both and not neither.", hint="banyan embed --help")
    if file is not None:
        return read_texts(file, column=column)
    if texts != ["-"]:
        return texts
    piped = lines_of(sys.stdin)
    if not piped:
        raise InputError("standard input holds no text.", hint="pipe in one text a line")
    return piped


def summary(embedded: Embedded, out: Path | None) -> dict[str, Any]:
    """Return what `--json` prints: how the vectors were made, and themselves where no file holds them."""
    num_texts, embed_dim = embedded.vectors.shape
    facts = {**embedded.facts, "texts": num_texts, "embed_dim": embed_dim}
    return facts | ({"file": out} if out is not None else {"vectors": embedded.vectors.tolist()})


def tell(embedded: Embedded, out: Path | None) -> None:
    """Say where the vectors are, or print them."""
    if out is None:
        for line in vector_lines(embedded):
            sys.stdout.write(line)
        return
    num_texts, embed_dim = embedded.vectors.shape
    say(f"{num_texts} vectors of {embed_dim} numbers (layer {embedded.facts['layer']}): {out}")
