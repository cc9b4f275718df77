"""What `banyan evaluate --compare` prints: one table, scores of generated text beside those of real text."""

from __future__ import annotations

from pathlib import Path

from banyan.cli.output import emit, print_table, say
from banyan.workflows.text_comparison import QUANTILES, ComparedScore, Side, TextComparison, summary


def show_comparison(found: TextComparison, *, output: Path | None, as_json: bool, quiet: bool) -> None:
    """Report a comparison as the user asked for it."""
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
