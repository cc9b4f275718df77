"""chrF, BLEU and exact match of translations, for each direction by itself and averaged over the directions.

Source: sacreBLEU's own sentence statistics, summed and scored by sacreBLEU; its signatures are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from banyan.data.languages import language_code
from banyan.tasks.metrics.measurement import FloatArray, Measurement, Scores, ratio

_BLEU_TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char"}  # sacreBLEU's own for other languages: 13a
_AVERAGED = ("chrf", "bleu", "exact_match")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredTranslation:
    """A translation, what it should be, and the group it is reported in."""

    target_language: str
    group: str  # the direction, or something narrower
    references: tuple[str, ...]
    answer: str
    is_apart: bool = False  # its group is reported, but not part of the average


class _Group:
    """Scores the translations of one group, all into one language."""

    def __init__(self, items: Sequence[ScoredTranslation]) -> None:
        self.chrf = CHRF()
        language = language_code(items[0].target_language) or ""
        self.bleu = BLEU(tokenize=_BLEU_TOKENIZERS.get(language, "13a"), force=True)
        self.is_apart = items[0].is_apart
        answers, columns = [item.answer for item in items], _reference_columns(items)
        parts = [
            np.array(self.chrf._extract_corpus_statistics(answers, columns), dtype=np.float64),
            np.array(self.bleu._extract_corpus_statistics(answers, columns), dtype=np.float64),
            np.array([[item.answer.strip() in map(str.strip, item.references), 1] for item in items], dtype=np.float64),
        ]
        self.statistics: FloatArray = np.concatenate(parts, axis=1)
        self._borders = np.cumsum([part.shape[1] for part in parts])[:2]

    def scores(self, totals: FloatArray) -> Scores:
        """Turn sums into scores; chrF and BLEU from 0 to 100."""
        chrf, bleu, exact = np.split(totals, self._borders)
        return {
            "chrf": self.chrf._compute_score_from_stats(_whole(chrf)).score,
            "bleu": self.bleu._compute_score_from_stats(_whole(bleu)).score,
            "exact_match": ratio(exact[0], exact[1]),
        }


def _whole(totals: FloatArray) -> list[int]:
    return [round(value) for value in totals.tolist()]


def _reference_columns(items: Sequence[ScoredTranslation]) -> list[list[str]]:
    """Lay references out as sacreBLEU wants them: one list for each first, second … reference, None in the gaps."""
    return cast(list[list[str]], [list(column) for column in zip_longest(*(item.references for item in items))])


def measure_translations(items: Sequence[ScoredTranslation]) -> Measurement:
    """Collect the sentence statistics of every group side by side."""
    members: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        members.setdefault(item.group, []).append(number)
    groups = {name: _Group([items[number] for number in numbers]) for name, numbers in members.items()}
    widths = [group.statistics.shape[1] for group in groups.values()]
    borders = np.concatenate([[0], np.cumsum(widths)]).astype(int)
    statistics = np.zeros((len(items), borders[-1]))
    for (name, group), left, right in zip(groups.items(), borders, borders[1:], strict=False):
        statistics[members[name], left:right] = group.statistics

    def summarize(totals: FloatArray) -> Scores:
        parts = zip(groups.items(), np.split(totals, borders[1:-1]), strict=True)
        return _average({name: group.scores(part) for (name, group), part in parts}, groups)

    return Measurement(statistics=statistics, summarize=summarize, signatures=_signatures(groups))


def _average(scores: dict[str, Scores], groups: dict[str, _Group]) -> Scores:
    counted = [name for name in scores if not groups[name].is_apart] or list(scores)
    result = {key: sum(scores[name][key] for name in counted) / len(counted) for key in _AVERAGED}
    for name, values in scores.items():
        result |= {f"{key}/{name}": value for key, value in values.items()}
    return result


def _signatures(groups: dict[str, _Group]) -> dict[str, str]:
    """Return sacreBLEU's signatures by direction, and one for the mean where all directions have the same."""
    by_score: dict[str, dict[str, str]] = {"chrf": {}, "bleu": {}}
    for name, group in groups.items():
        by_score["chrf"][name] = str(group.chrf.get_signature())
        by_score["bleu"][name] = str(group.bleu.get_signature())
    result = {f"{score}/{name}": text for score, own in by_score.items() for name, text in own.items()}
    for score, own in by_score.items():
        found = set(own.values())
        mean = "" if len(own) == 1 else "mean of the directions; "
        result[score] = mean + (found.pop() if len(found) == 1 else "each with a signature of its own")
    return result
