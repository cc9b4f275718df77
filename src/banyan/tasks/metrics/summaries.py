"""ROUGE-1, ROUGE-2 and ROUGE-L of summaries; Chinese and Japanese by character.

Source: Google's rouge-score with its Porter stemmer; of several references the best counts, score by score.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from banyan.tasks.metrics.measurement import FloatArray, Measurement, Scores, ratio
from banyan.tasks.units import UNSPACED

_SIGNATURE = "rouge-score|stemmer:porter|f-measure|references:best|Han and kana by character|version:{version}"
_NAMES = ("rouge1", "rouge2", "rougeL")
_PIECES = re.compile(f"[{UNSPACED}]|[^{UNSPACED}]+")


class _CharacterAwareTokenizer:
    """The words of another tokenizer, and every Han or kana character as one token."""

    def __init__(self, words: Any) -> None:
        self._words = words
        self._character = re.compile(f"[{UNSPACED}]")

    def tokenize(self, text: str) -> list[str]:
        tokens: list[str] = []
        for piece in _PIECES.findall(text):
            tokens += [piece] if self._character.fullmatch(piece) else self._words.tokenize(piece)
        return tokens


def measure_summaries(references: Sequence[Sequence[str]], answers: Sequence[str]) -> Measurement:
    """Add up the F-measures of every summary."""
    # rouge-score loads nltk and scipy: two seconds that only who scores summaries should wait for.
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    scorer = RougeScorer(list(_NAMES), tokenizer=_CharacterAwareTokenizer(DefaultTokenizer(use_stemmer=True)))
    statistics = np.zeros((len(references), len(_NAMES) + 1))
    for row, due, given in zip(statistics, references, answers, strict=True):
        scores = scorer.score_multi(list(due), given)
        row[:] = [*(scores[name].fmeasure for name in _NAMES), 1]
    signature = _SIGNATURE.format(version=version("rouge-score"))
    return Measurement(statistics=statistics, summarize=_rouge_scores, signatures=dict.fromkeys(_NAMES, signature))


def _rouge_scores(totals: FloatArray) -> Scores:
    return {name: ratio(total, totals[-1]) for name, total in zip(_NAMES, totals, strict=False)}
