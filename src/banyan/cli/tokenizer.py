"""`banyan tokenizer`: train a tokenizer, or look at one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, emit, print_table, say
from banyan.workflows.tokenizers import TokenizerReport, inspect_tokenizer, train_tokenizer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Train a tokenizer, or look at one.")


@app.command()
def train(
    paths: Annotated[list[Path], typer.Argument(help="Text to learn from: files or folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for tokenizer.json.")] = Path("tokenizer"),
    vocab_size: Annotated[int, typer.Option(min=256, help="Ordinary tokens; every byte is one of them.")] = 4096,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a byte-level BPE tokenizer.

    Example: banyan tokenizer train notes/ --vocab-size 8192 --output tokenizer
    """
    report = train_tokenizer(paths, output, vocab_size=vocab_size)
    emit(report, as_json=as_json, quiet=quiet, text=lambda: _tell(report))


@app.command()
def inspect(
    tokenizer: Annotated[Path, typer.Argument(help="A model directory, or a folder with tokenizer.json.")],
    text: Annotated[str | None, typer.Option(help="Show how this text is cut into tokens.")] = None,
    files: Annotated[list[Path] | None, typer.Argument(help="Text to measure on.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show how many tokens each script costs, and how a text is cut.

    Example: banyan tokenizer inspect runs/demo/best --text "Hello 世界"
    """
    report = inspect_tokenizer(tokenizer, files or [], text=text)
    emit(report, as_json=as_json, quiet=quiet, text=lambda: _tell(report))


def _tell(report: TokenizerReport) -> None:
    say(f"{report.directory}: {report.vocab_size} ordinary tokens")
    if report.scripts:
        columns = ("script", "characters", "tokens per character", "bytes per token")
        print_table(columns, _rows(report.scripts))
    if report.pieces:
        print_table(("id", "token"), [(piece["id"], piece["text"]) for piece in report.pieces])


def _rows(scripts: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(s["script"], s["num_characters"], s["tokens_per_character"], s["bytes_per_token"]) for s in scripts]
