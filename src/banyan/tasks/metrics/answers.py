"""Exact match and token F1 of short answers, as SQuAD scores them; Chinese and Japanese by character.

Source: the official SQuAD 1.1/2.0 evaluation (`normalize_answer`, `compute_f1`); for texts with Han or kana the
segmentation of MLQA and CMRC 2018: one token for each such character, punctuation of every script removed.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from banyan.tasks.metrics.measurement import FloatArray, Measurement, Scores, f1_score, ratio
from banyan.tasks.units import UNSPACED, has_unspaced_script

SIGNATURE = "SQuAD 2.0 normaliser; Han and kana by character"
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ASCII_PUNCTUATION = frozenset(string.punctuation)
_UNSPACED_CHARACTER = re.compile(f"([{UNSPACED}])")


def answer_tokens(text: str) -> list[str]:
    """Return the words of an answer in lower case, without punctuation and English articles."""
    lowered = text.lower()
    if not has_unspaced_script(lowered):
        bare = "".join(character for character in lowered if character not in _ASCII_PUNCTUATION)
        return _ARTICLES.sub(" ", bare).split()
    bare = "".join(character for character in lowered if not _is_punctuation(character))
    return _UNSPACED_CHARACTER.sub(r" \1 ", bare).split()


def _is_punctuation(character: str) -> bool:
    return character in _ASCII_PUNCTUATION or unicodedata.category(character).startswith("P")


def score_answer(references: Sequence[str], answer: str) -> tuple[float, float]:
    """Return exact match and F1 of an answer against the best of its references.

    No reference, or nothing but articles and punctuation in all of them, means that there is no answer: then only a
    blank answer is right.
    """
    given = answer_tokens(answer)
    due = [tokens for tokens in map(answer_tokens, references) if tokens] or [[]]
    return max(float(given == tokens) for tokens in due), max(_token_f1(tokens, given) for tokens in due)


def _token_f1(due: Sequence[str], given: Sequence[str]) -> float:
    if not due or not given:
        return float(due == given)
    matched = sum((Counter(due) & Counter(given)).values())
    return f1_score(matched, len(given), len(due))


def measure_answers(references: Sequence[Sequence[str]], answers: Sequence[str]) -> Measurement:
    """Add up exact match and F1, of all questions and of those that have an answer."""
    statistics = np.zeros((len(references), 6))
    for row, due, given in zip(statistics, references, answers, strict=True):
        exact, f1 = score_answer(due, given)
        answerable = float(any(text.strip() for text in due))
        row[:] = exact, f1, 1, exact * answerable, f1 * answerable, answerable
    return Measurement(
        statistics=statistics, summarize=_answer_scores, signatures=dict.fromkeys(("f1", "exact_match"), SIGNATURE)
    )


def _answer_scores(totals: FloatArray) -> Scores:
    exact, f1, num_questions, answered_exact, answered_f1, num_answerable = totals
    scores = {"f1": ratio(f1, num_questions), "exact_match": ratio(exact, num_questions)}
    if num_answerable < num_questions:
        scores["f1_answerable"] = ratio(answered_f1, num_answerable)
        scores["exact_match_answerable"] = ratio(answered_exact, num_answerable)
        scores["accuracy_unanswerable"] = ratio(exact - answered_exact, num_questions - num_answerable)
    return scores
