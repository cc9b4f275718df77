"""What can be said of generated text beside real text, score by score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from banyan.tasks.intervals import Interval, confidence_intervals
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.metrics.summaries import measure_summaries
from banyan.tasks.metrics.translations import ScoredTranslation, measure_translations
from banyan.tasks.units import has_unspaced_script
from banyan.workflows.text_samples import TextSamples
from banyan.workflows.text_statistics import (
    COPY_ORDERS,
    DISTINCT_ORDERS,
    OVERLAP_ORDERS,
    Units,
    all_ngrams,
    count_ngrams,
    distinct,
    measure_lengths,
    measure_overlap,
    measure_repetition,
    ngrams_seen,
    units_of,
)

QUANTILES = (0.1, 0.5, 0.9)
_UNSPACED_SHARE = 0.2  # of a text's characters that makes it one by character for BLEU


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One score of one collection of texts."""

    value: float
    interval: Interval | None = None  # 95 %, over texts drawn again


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedScore:
    """One score of generated text, and of real text where it is one that real text has by itself."""

    name: str
    generated: Side
    real: Side | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TextComparison:
    """Everything that was compared."""

    num_real: int
    num_generated: int
    num_too_short: int  # real texts that were too short to have a beginning
    scores: tuple[ComparedScore, ...]
    signatures: Mapping[str, str]  # of the official scorers
    notes: tuple[str, ...]  # what could not be compared, and why
    samples: TextSamples

    @property
    def lengths(self) -> dict[str, list[int]]:
        """Words (Chinese: characters) of each text."""
        sides = {"generated": self.samples.generated, "real": self.samples.real}
        return {name: [len(units_of(text)) for text in texts] for name, texts in sides.items()}

    @property
    def length_quantiles(self) -> dict[str, list[float]]:
        """How many words the shortest tenth, the shorter half and the shorter nine tenths have at most."""
        return {name: np.quantile(found, QUANTILES).tolist() for name, found in self.lengths.items()}

    def named(self, name: str) -> ComparedScore:
        """Return one score."""
        return next(score for score in self.scores if score.name == name)


def compare_samples(
    samples: TextSamples, *, likelihoods: tuple[Measurement, Measurement] | None, training: Iterator[str] | None
) -> TextComparison:
    """Compare texts by everything that can be said of them.

    `likelihoods` are those of generated and real text under a model; `training` is what it learned from, if known.
    """
    generated, real = ([units_of(text) for text in texts] for texts in (samples.generated, samples.real))
    scores: list[ComparedScore] = []
    if likelihoods is not None:
        scores += _both(*likelihoods)
    signatures: dict[str, str] = {}
    if samples.is_paired:
        likeness = _likeness(samples)
        scores += _one_sided(likeness)
        signatures |= likeness.signatures
    scores += _distinct_scores(generated, real)
    scores += _both(measure_repetition(generated), measure_repetition(real))
    scores += _both(measure_lengths(samples.generated), measure_lengths(samples.real))
    known = all_ngrams(real, OVERLAP_ORDERS)
    scores += _one_sided(measure_overlap(generated, known, OVERLAP_ORDERS, name="in real text"))
    if training is not None:
        scores += _copied(generated, real, training)
    return TextComparison(
        num_real=len(real),
        num_generated=len(generated),
        num_too_short=samples.num_too_short,
        scores=tuple(scores),
        signatures=signatures,
        notes=_notes(samples, knows_training=training is not None),
        samples=samples,
    )


def _likeness(samples: TextSamples) -> Measurement:
    """Score each generated text against the real one it stands beside."""
    language = "zh" if _is_unspaced(samples.real) else "en"
    items = [
        ScoredTranslation(target_language=language, group="", references=(real,), answer=generated)
        for real, generated in zip(samples.real, samples.generated, strict=True)
    ]
    translations = measure_translations(items)
    named = {"bleu": "BLEU", "chrf": "chrF"}
    signatures = {name: translations.signatures[f"{key}/"] for key, name in named.items()}
    rouge = measure_summaries([(real,) for real in samples.real], samples.generated)
    both = translations.renamed(named).beside(
        rouge.renamed({"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"})
    )
    return Measurement(
        statistics=both.statistics, summarize=both.summarize, signatures={**both.signatures, **signatures}
    )


def _is_unspaced(texts: Sequence[str]) -> bool:
    characters = [character for text in texts for character in text if not character.isspace()]
    return sum(map(has_unspaced_script, characters)) > _UNSPACED_SHARE * len(characters)


def _one_sided(measurement: Measurement) -> list[ComparedScore]:
    return [ComparedScore(name=name, generated=side, real=None) for name, side in _sides(measurement).items()]


def _both(generated: Measurement, real: Measurement) -> list[ComparedScore]:
    beside = _sides(real)
    return [ComparedScore(name=name, generated=side, real=beside[name]) for name, side in _sides(generated).items()]


def _sides(measurement: Measurement) -> dict[str, Side]:
    intervals = confidence_intervals(measurement)
    return {name: Side(value=value, interval=intervals[name]) for name, value in measurement.scores().items()}


def _distinct_scores(generated: Sequence[Units], real: Sequence[Units]) -> list[ComparedScore]:
    scores = []
    for order in DISTINCT_ORDERS:
        num = min(count_ngrams(generated, order), count_ngrams(real, order))
        sides = [Side(value=distinct(texts, order, num_ngrams=num)) for texts in (generated, real)]
        scores.append(ComparedScore(name=f"distinct-{order}", generated=sides[0], real=sides[1]))
    return scores


def _copied(generated: Sequence[Units], real: Sequence[Units], training: Iterator[str]) -> list[ComparedScore]:
    """Measure what both kinds of text share with the training text."""
    wanted = all_ngrams([*generated, *real], COPY_ORDERS)
    seen = ngrams_seen(wanted, map(units_of, training), COPY_ORDERS)
    return _both(*(measure_overlap(texts, seen, COPY_ORDERS, name="in training text") for texts in (generated, real)))


def _notes(samples: TextSamples, *, knows_training: bool) -> tuple[str, ...]:
    notes = []
    if not samples.is_paired:
        notes.append(
            f"BLEU, chrF and ROUGE need pairs, and the files hold {len(samples.real)} real and "
            f"{len(samples.generated)} generated texts"
        )
    if not knows_training:
        notes.append("what the model learned from is not known, or not there any more")
    return tuple(notes)
