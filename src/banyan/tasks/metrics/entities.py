"""Strict F1 over entities: right only with the right label, first and last word (CoNLL, seqeval's strict IOB2)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from seqeval.scheme import IOB2, Entities

from banyan.core.errors import DataError
from banyan.tasks.metrics.measurement import FloatArray, Measurement, Scores, f1_score, ratio

_SIGNATURE = "seqeval|mode:strict|scheme:IOB2|average:micro|version:{version}"


def measure_entities(expected: Sequence[Sequence[str]], answered: Sequence[Sequence[str]]) -> Measurement:
    """Count entities that were found rightly, found, and to be found; and tags that were right.

    Raises: DataError if an answer has another number of tags than its example.
    """
    for number, (due, given) in enumerate(zip(expected, answered, strict=True), start=1):
        if len(due) != len(given):
            raise DataError(f"example {number} has {len(due)} tags, its answer {len(given)}; each word needs one.")
    due_entities = Entities([list(tags) for tags in expected], scheme=IOB2).entities
    given_entities = Entities([list(tags) for tags in answered], scheme=IOB2).entities
    statistics = np.zeros((len(expected), 5))
    for number, row in enumerate(statistics):
        to_find, found = set(due_entities[number]), set(given_entities[number])
        right_tags = sum(a == b for a, b in zip(expected[number], answered[number], strict=True))
        row[:] = len(to_find & found), len(found), len(to_find), right_tags, len(expected[number])
    signature = _SIGNATURE.format(version=version("seqeval"))
    signatures = dict.fromkeys(("f1", "precision", "recall"), signature)
    return Measurement(statistics=statistics, summarize=_entity_scores, signatures=signatures)


def _entity_scores(totals: FloatArray) -> Scores:
    matched, given, due, right_tags, num_tags = totals
    return {
        "f1": f1_score(matched, given, due),
        "precision": ratio(matched, given),
        "recall": ratio(matched, due),
        "tag_accuracy": ratio(right_tags, num_tags),
    }
