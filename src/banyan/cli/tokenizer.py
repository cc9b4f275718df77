"""`banyan tokenizer`: train a tokenizer, look at one, or give a model another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from banyan.cli.output import JsonOption, QuietOption, emit, print_table, say
from banyan.workflows.growing import GrowConfig, GrowthReport, MoveReport, grow_directory, move_directory
from banyan.workflows.tokenizers import TokenizerReport, inspect_tokenizer, train_tokenizer

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Train a tokenizer, look at one, or give a model another."
)

_MAX_SHOWN_WORDS = 10


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


@app.command()
def grow(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    output: Annotated[Path, typer.Argument(help="Folder for the model with more tokens; must not be there yet.")],
    learn: Annotated[
        list[str] | None, typer.Option(help="Text to learn tokens on: a file, a folder or a data set's name.")
    ] = None,
    num_tokens: Annotated[int, typer.Option(min=1, help="--learn: at most so many new tokens.")] = 1000,
    word: Annotated[list[str] | None, typer.Option(help="A word to make one token of; may be given again.")] = None,
    words: Annotated[Path | None, typer.Option(help="More words, one a line.")] = None,
    special: Annotated[list[str] | None, typer.Option(help="A special token; may be given again.")] = None,
    task_tokens: Annotated[
        bool, typer.Option("--task-tokens", help="Give an imported model the tokens of Banyan's own chat and tasks.")
    ] = False,
    image_tokenizer: Annotated[
        Path | None, typer.Option(help="image_tokenizer.safetensors, or a model that has one: its codes are added.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the rows of image codes.")] = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Add tokens to a model: of another language, of given words, special ones, image codes.

    Example: banyan tokenizer grow runs/demo/best grown --learn notes/ --num-tokens 500
    """
    config = GrowConfig(
        num_tokens=num_tokens if learn else 0,
        sources=tuple(learn or ()),
        words=tuple(word or ()),
        words_file=None if words is None else str(words),
        special_tokens=tuple(special or ()),
        task_tokens=task_tokens,
        seed=seed,
    )
    report = grow_directory(model, output, config, image_tokenizer=image_tokenizer)
    emit(report, as_json=as_json, quiet=quiet, text=lambda: _tell_growth(report))


@app.command()
def move(
    model: Annotated[Path, typer.Argument(help="A model directory.")],
    tokenizer: Annotated[Path, typer.Argument(help="tokenizer.json, or a folder that holds one.")],
    output: Annotated[Path, typer.Argument(help="Folder for the moved model; must not be there yet.")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Move a model to another tokenizer; rows of its tokens are composed of the old ones.

    Example: banyan tokenizer move runs/demo/best tokenizer moved
    """
    report = move_directory(model, tokenizer, output)
    emit(report, as_json=as_json, quiet=quiet, text=lambda: _tell_move(report))


def _tell_growth(report: GrowthReport) -> None:
    say(f"{report.output}: {report.num_new_tokens} new tokens; {report.num_before} ids before, {report.num_after} now")
    if report.num_image_codes:
        say(f"the last {report.num_image_codes} ids are image codes")
    if report.unlearned_words:
        shown = ", ".join(report.unlearned_words[:_MAX_SHOWN_WORDS])
        say(f"{len(report.unlearned_words)} words cannot be one token, for the tokenizer always cuts them: {shown}")


def _tell_move(report: MoveReport) -> None:
    say(f"{report.output}: {report.num_before} ids before, {report.num_after} now")
    say(f"{report.num_copied} text tokens are in both tokenizers, {report.num_composed} are made of old pieces")
    if report.num_unknown_special:
        say(f"{report.num_unknown_special} special tokens are new; their rows begin as the mean of all")


def _tell(report: TokenizerReport) -> None:
    say(f"{report.directory}: {report.vocab_size} ordinary tokens")
    if report.scripts:
        columns = ("script", "characters", "tokens per character", "bytes per token")
        print_table(columns, _rows(report.scripts))
    if report.pieces:
        print_table(("id", "token"), [(piece["id"], piece["text"]) for piece in report.pieces])


def _rows(scripts: Iterable[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(s["script"], s["num_characters"], s["tokens_per_character"], s["bytes_per_token"]) for s in scripts]
