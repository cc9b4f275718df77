"""`banyan evaluate --compare`: its options, and one table: generated text beside real text, score by score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from banyan.cli.output import console, emit, print_table, say
from banyan.cli.progress import TerminalReporter
from banyan.workflows.text_comparison import compare_texts, summary
from banyan.workflows.text_scores import QUANTILES, ComparedScore, Side, TextComparison

CompareOption = Annotated[
    Path | None, typer.Option(help="Compare what the model writes with the text of this file or folder.")
]
GeneratedOption = Annotated[
    Path | None, typer.Option(help="--compare: take generated text from here in place of the model's.")
]
PromptTokensOption = Annotated[int, typer.Option(min=1, help="--compare: tokens of each real text to begin with.")]
SampleTokensOption = Annotated[int, typer.Option(min=8, help="--compare: tokens to go on with, at most.")]
NumOption = Annotated[int, typer.Option(min=1, help="--compare: at most so many texts.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonQuestion:
    """What is compared with what."""

    real: Path
    generated: Path | None
    prompt_tokens: int
    sample_tokens: int
    max_samples: int
    temperature: float | None
    seed: int | None


def run_comparison(
    model: Path, asked: ComparisonQuestion, *, base: Path | None, output: Path | None, as_json: bool, quiet: bool
) -> None:
    """Compare texts, write what was found if asked, and report it as the user asked for it."""
    with TerminalReporter(console(quiet=quiet, as_json=as_json)) as reporter:
        found = compare_texts(
            model,
            asked.real,
            generated=asked.generated,
            prompt_tokens=asked.prompt_tokens,
            sample_tokens=asked.sample_tokens,
            max_samples=asked.max_samples,
            temperature=asked.temperature,
            seed=asked.seed,
            output=output,
            base=base,
            reporter=reporter,
        )
    emit({**summary(found), "output": output}, as_json=as_json, quiet=quiet, text=lambda: _tell(found, output))


def _tell(found: TextComparison, output: Path | None) -> None:
    print_table(("score", "generated", "95 % interval", "real", "95 % interval"), map(_row, found.scores))
    say(f"{found.num_generated} generated and {found.num_real} real texts")
    for name, quantiles in found.length_quantiles.items():
        shares = " / ".join(f"{share:.0%}" for share in QUANTILES)
        say(f"{name}: {shares} of the texts have at most {' / '.join(f'{q:.0f}' for q in quantiles)} words")
    if found.num_too_short:
        say(f"{found.num_too_short} real texts are too short to be begun and gone on with")
    for note in found.notes:
        say(f"left out: {note}")
    if output is not None:
        say(f"scores, texts and plot: {output}")


def _row(score: ComparedScore) -> tuple[str, ...]:
    return (score.name, *_cells(score.generated), *_cells(score.real))


def _cells(side: Side | None) -> tuple[str, str]:
    if side is None:
        return "–", ""
    low_high = f"{side.interval.low:.4g} – {side.interval.high:.4g}" if side.interval else ""
    return f"{side.value:.4g}", low_high
