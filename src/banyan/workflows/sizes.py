"""Sensible sizes for a recipe, from how much there is to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from banyan.data.recognise import SourceReport

_UNSPACED = {"zh", "ja"}  # languages whose characters are most of a token each
_ROW_LENGTHS = (128, 256, 512)  # tokens
_CODES_PER_SIDE = 8  # of a drawn picture; 64 codes are quick to learn


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeSizes:
    """The numbers a first recipe needs."""

    preset: str
    vocab_size: int  # ordinary tokens
    seq_len: int  # tokens in a row
    batch_seqs: int  # rows in a step
    minutes: int
    image_size: int | None = None  # pixels a side; None: nothing is drawn
    patch_size: int = 2
    num_codes: int = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """Sizes that suit up to so much text."""

    max_characters: float
    preset: str
    vocab_size: int
    batch_tokens: int
    minutes: int


_STEPS = (
    _Step(max_characters=2e5, preset="banyan-nano", vocab_size=512, batch_tokens=2048, minutes=2),
    _Step(max_characters=2e6, preset="banyan-nano", vocab_size=2048, batch_tokens=4096, minutes=10),
    _Step(max_characters=2e7, preset="banyan-micro", vocab_size=4096, batch_tokens=8192, minutes=30),
    _Step(max_characters=2e8, preset="banyan-small", vocab_size=8192, batch_tokens=16384, minutes=120),
    _Step(max_characters=float("inf"), preset="banyan-base", vocab_size=16384, batch_tokens=32768, minutes=480),
)


def suggest_sizes(reports: Sequence[SourceReport]) -> RecipeSizes:
    """Return the sizes of a first recipe for these data sets together.

    They are meant for a CPU: minutes rather than days, and a model that the data can fill.
    """
    pictures = [report for report in reports if report.picture_size is not None]
    num_cells = sum(report.num_rows * _CODES_PER_SIDE**2 for report in pictures)
    num_characters = sum(report.num_characters for report in reports) + 3 * num_cells
    step = next(step for step in _STEPS if num_characters <= step.max_characters)
    seq_len = _row_length(reports)
    vocab_size = step.vocab_size
    if num_characters > 2e5 and any(_UNSPACED & set(report.languages) for report in reports):
        vocab_size = max(4096, vocab_size)  # thousands of characters are in daily use
    image_size, patch_size = _picture_sizes([report.picture_size or 1 for report in pictures])
    return RecipeSizes(
        preset=step.preset,
        vocab_size=vocab_size,
        seq_len=seq_len,
        batch_seqs=max(8, step.batch_tokens // seq_len),
        minutes=step.minutes,
        image_size=image_size,
        patch_size=patch_size,
        num_codes=max(16, min(256, num_cells // 16)),
    )


def _row_length(reports: Sequence[SourceReport]) -> int:
    """Return a row length that holds nine of ten examples of every task, as far as that is affordable."""
    needed = max(map(_usual_tokens, reports))
    return next((length for length in _ROW_LENGTHS if needed <= length), _ROW_LENGTHS[-1])


def _usual_tokens(report: SourceReport) -> int:
    if report.kind == "language_modeling":
        return 256  # longer texts go on in the next row
    special_tokens = 8
    per_token = 1.0 if _UNSPACED & set(report.languages) else 2.5  # characters, with a small vocabulary
    codes = _CODES_PER_SIDE**2 if report.picture_size is not None else 0
    return int(report.usual_characters / per_token) + codes + special_tokens


def _picture_sizes(sizes: Sequence[int]) -> tuple[int | None, int]:
    """Return how large pictures are drawn, and the side of the patch that one code stands for."""
    if not sizes:
        return None, 2
    patch_size = max(1, min(4, max(sizes) // _CODES_PER_SIDE))
    return patch_size * _CODES_PER_SIDE, patch_size
