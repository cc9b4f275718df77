"""`banyan prepare`: corpora → clean, deduplicated, tokenised shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import JsonOption, QuietOption, console, emit, say
from banyan.cli.progress import TerminalReporter
from banyan.workflows.preparing import CorpusReport, prepare

app = typer.Typer(add_completion=False)


@app.command(name="prepare")
def prepare_command(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders of text.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the shards.")] = Path("corpus"),
    tokenizer: Annotated[
        Path | None, typer.Option(help="A folder with tokenizer.json; trained here if not given.")
    ] = None,
    vocab_size: Annotated[int, typer.Option(min=256, help="Size of a tokenizer trained here.")] = 4096,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Clean and tokenise a corpus. Stopped and typed again, it goes on after its last complete shard.

    Example: banyan prepare notes/ --tokenizer runs/demo/best --output corpus
    """
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        report = prepare(paths, output, tokenizer=tokenizer, vocab_size=vocab_size, reporter=reporter)
    emit(report, as_json=as_json, quiet=quiet, text=lambda: tell(report, output))


def tell(report: CorpusReport, output: Path) -> None:
    """Say what was kept."""
    say(f"{output}: {report.num_documents:,} of {report.num_read:,} documents, {report.num_tokens:,} tokens")
    say(f"left out: {report.num_duplicates:,} repeats, {report.num_too_short:,} too short")
