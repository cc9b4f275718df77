"""`banyan import SRC DST`: foreign weights in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.core.errors import ConfigError
from banyan.core.files import shown_bytes
from banyan.workflows.importing import ImportCheck, ImportReport, check_import, import_model

app = typer.Typer(add_completion=False)

_SHOWN_NAMES = 3


@app.command(name="import")
def import_command(
    source: Annotated[Path, typer.Argument(help="A folder or a file of weights in another format.")],
    destination: Annotated[Path | None, typer.Argument(help="The new model directory.")] = None,
    format: Annotated[str, typer.Option(help="auto, hugging_face, keras_gpt2 or llama2c.")] = "auto",
    check: Annotated[
        bool, typer.Option("--check", help="Only look: layout, tensors, vocabulary, memory needed; write nothing.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn a foreign model into a model directory: GPT-2, Llama, Mistral, Qwen 2 and 3; Keras GPT-2; llama2.c.

    Weights keep their number format, tensor by tensor; the tokenizer comes along as it is. Nothing is written unless
    all is well. Example: banyan import downloads/Qwen3-0.6B models/qwen3
    """
    if check:
        found = check_import(source, format=format)
        emit(found, as_json=as_json, quiet=quiet, text=lambda: print_table(("what", "value"), list(rows(found))))
        return
    if destination is None:
        raise ConfigError("the new model directory is missing.", hint=f"banyan import {source} DIRECTORY, or --check")
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        report = import_model(source, destination, format=format, reporter=reporter)
    emit(report, as_json=as_json, quiet=quiet, text=lambda: tell(report))


def rows(check: ImportCheck) -> Iterator[tuple[str, str]]:
    """Yield what the pre-flight found, as rows of a table."""
    model = check.model
    yield "format", check.format
    yield "architecture", check.architecture
    yield "layers, width, heads", f"{model.num_layers}, {model.embed_dim}, {model.num_heads} ({model.num_kv_heads} kv)"
    yield "context", f"{model.max_seq_len:,} tokens{_window(check)}"
    yield "weights", f"{check.num_parameters:,} in {check.num_tensors} tensors, all present, {', '.join(check.dtypes)}"
    if check.left_out:
        yield "left out", f"{_few(check.left_out)}: no weights, or there twice"
    if check.ignored_fields:
        yield "not understood", f"{_few(check.ignored_fields)} in config.json: not of this architecture"
    yield "vocabulary", f"{model.vocab_size:,} rows, the tokenizer uses {check.tokenizer_size:,}"
    yield "chat format", f"{check.chat}: {check.chat_reason}"
    yield "disk", shown_bytes(check.disk_bytes)
    yield (
        "memory",
        f"{shown_bytes(check.memory_bytes)}, and {shown_bytes(check.cache_bytes_per_token)} a token of context",
    )
    verdict = "a whole context fits" if check.fits else "a whole context does not fit"
    yield "this machine", f"{shown_bytes(check.available_bytes)} free: {verdict}"


def _window(check: ImportCheck) -> str:
    window = check.model.sliding_window
    return f", each sees the last {window:,}" if window else ""


def _few(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def tell(report: ImportReport) -> None:
    """Say what was imported, and what can be done with it."""
    check = report.check
    say(
        f"{report.directory}: {check.architecture}, {check.num_parameters:,} parameters in {', '.join(check.dtypes)}, "
        f"{shown_bytes(check.disk_bytes)}; chat format {check.chat}"
    )
    if not check.fits:
        say(f"a whole context of {check.model.max_seq_len:,} tokens does not fit into the memory of this machine")
