"""`banyan predict --words`: its options, and the table it prints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import emit, print_table, say
from banyan.cli.streams import harmless
from banyan.core.errors import ConfigError
from banyan.runtime.loading import load
from banyan.workflows.word_list import WordList, read_words
from banyan.workflows.word_output import check_word_file, write_words
from banyan.workflows.word_report import PLACE, WordReport, WordScore, check_continues_texts, report_words

WordsOption = Annotated[
    Path | None, typer.Option(help="How probable each word of a list is, one a line (language_modeling).")
]
ContextOption = Annotated[
    list[str] | None, typer.Option(help='Where the words stand: "I like {word}"; may be given again.')
]
TopPiecesOption = Annotated[int, typer.Option("--top", min=0, max=100, help="Likeliest pieces shown for each context.")]
ContinueOption = Annotated[
    int, typer.Option("--continue", min=0, max=1000, help="Pieces the model writes after each word.")
]

_MAX_SHOWN_WORDS = 100
_COLUMNS = ("word", "log-prob", "per piece", "bits/byte", "rank", "pieces", "cut as", "goes on with")


@dataclass(frozen=True, kw_only=True, slots=True)
class WordQuestion:
    """Which words are asked for, and how."""

    words: Path
    contexts: list[str] | None
    top_k: int
    continue_tokens: int


def check_way(words: Path | None, contexts: list[str] | None, *, texts: list[str] | None, file: Path | None) -> None:
    """Refuse options that do not go together.

    Raises: ConfigError saying what they belong to.
    """
    if words is not None and (texts or file is not None):
        raise ConfigError("--words takes its words from a file; give neither texts nor --file.")
    if words is None and contexts:
        raise ConfigError("--context is where the words of --words stand.", hint="add --words new_words.txt")


def run_words(
    directory: Path,
    task: str,
    asked: WordQuestion,
    *,
    base: Path | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Score the words of a list, write them if asked, and print a table."""
    if output is not None:
        check_word_file(output)
    found = read_words(asked.words)
    with load(directory, base=base) as model:
        check_continues_texts(model, task)
        report = report_words(
            model,
            found.words,
            asked.contexts or (PLACE,),
            top_k=asked.top_k,
            continue_tokens=asked.continue_tokens,
        )
    if output is not None:
        write_words(report, output)
    result = {"report": report, "left_out": found.left_out, "output": output}
    emit(result, as_json=as_json, quiet=quiet, text=lambda: _tell_words(report, found, output))


def _tell_words(report: WordReport, found: WordList, output: Path | None) -> None:
    for context, pieces in report.next_pieces.items():
        likeliest = "   ".join(f"{piece.text!r} {piece.probability:.1%}" for piece in pieces)
        say(harmless(f"{context}   the model itself: {likeliest}"))
    shown = report.scores[:_MAX_SHOWN_WORDS]
    print_table(_COLUMNS, [_word_row(score) for score in shown])
    if len(report.scores) > len(shown):
        say(f"… and {len(report.scores) - len(shown)} more; --out words.csv writes all of them")
    left_out = {**found.left_out, "longer than the model can read": len(report.too_long)}
    if reasons := ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count):
        say(f"left out: {reasons}")
    if output is not None:
        say(f"{len(report.scores)} rows: {output}")


def _word_row(score: WordScore) -> tuple[object, ...]:
    per_piece, per_byte = f"{score.log_prob_per_piece:.2f}", f"{score.bits_per_byte:.2f}"
    pieces = harmless("|".join(score.pieces))
    after = harmless(repr(score.continuation)) if score.continuation is not None else None
    word = harmless(score.context.replace(PLACE, f"[{score.word}]"))
    return word, f"{score.log_prob:.2f}", per_piece, per_byte, score.first_rank, len(score.pieces), pieces, after
