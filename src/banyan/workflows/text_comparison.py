"""`banyan evaluate --compare`: generated text beside real text, score by score."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from banyan.core.config import read_config
from banyan.core.errors import BanyanError
from banyan.core.files import atomic_write_bytes, atomic_write_json, atomic_write_text
from banyan.data.checking import strings_of
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.defaults import default_sampling, override
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.intervals import Interval, confidence_intervals
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tasks.metrics.likelihood import measure_perplexity
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.metrics.summaries import measure_summaries
from banyan.tasks.metrics.translations import ScoredTranslation, measure_translations
from banyan.tasks.units import has_unspaced_script
from banyan.workflows.comparison_plot import draw_texts
from banyan.workflows.datasets import load_splits
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.sidecars import RECIPE_FILE
from banyan.workflows.text_samples import TextSamples, generate_beside, read_beside, text_log_probs
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
JSON_FILE, PLOT_FILE, SAMPLES_FILE = "comparison.json", "comparison.png", "samples.jsonl"
_MAX_TRAINING_CHARACTERS = 64_000_000
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


def compare_texts(
    directory: Path,
    real: Path,
    *,
    generated: Path | None = None,
    prompt_tokens: int = 32,
    sample_tokens: int = 128,
    max_samples: int = 100,
    temperature: float | None = None,
    seed: int | None = None,
    output: Path | None = None,
    base: Path | None = None,
    reporter: Reporter,
) -> TextComparison:
    """Compare what a model writes (or a file of generated text) with real text.

    `base` is where the model of an adapter lies, if it has moved.
    Raises: FileError, DataError, ConfigError if there is nothing to compare.
    """
    reporter.stage("load")
    with load(directory, base=base) as model:
        reporter.stage("read" if generated else "generate")
        if generated is not None:
            samples = read_beside(real, generated, max_samples=max_samples)
        else:
            samples = generate_beside(
                model,
                real,
                prompt_tokens=prompt_tokens,
                sample_tokens=sample_tokens,
                max_samples=max_samples,
                sampling=_sampling(model, temperature=temperature, seed=seed),
            )
        reporter.stage("score")
        likelihoods = _likelihoods(model, samples)
    found = compare_samples(samples, likelihoods=likelihoods, training=_training_texts(directory))
    if output is not None:
        write_comparison(found, output)
    return found


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


def write_comparison(found: TextComparison, directory: Path) -> None:
    """Write scores, texts and a plot into a folder.

    Raises: SpaceError.
    """
    atomic_write_json(directory / JSON_FILE, summary(found))
    samples = found.samples
    columns = itertools.zip_longest(samples.prompts, samples.real, samples.generated)
    rows = [dict(zip(("prompt", "real", "generated"), row, strict=True)) for row in columns]
    atomic_write_text(directory / SAMPLES_FILE, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    values = {score.name: (score.generated.value, score.real.value if score.real else None) for score in found.scores}
    atomic_write_bytes(directory / PLOT_FILE, draw_texts(values, lengths=found.lengths))


def summary(found: TextComparison) -> dict[str, object]:
    """Return a comparison as plain values, without the texts."""
    return {
        "num_real": found.num_real,
        "num_generated": found.num_generated,
        "num_too_short": found.num_too_short,
        "scores": {
            score.name: {"generated": _plain(score.generated), "real": _plain(score.real)} for score in found.scores
        },
        "length_quantiles": {"quantiles": list(QUANTILES), **found.length_quantiles},
        "signatures": dict(found.signatures),
        "notes": list(found.notes),
    }


def _plain(side: Side | None) -> dict[str, object] | None:
    if side is None:
        return None
    interval = [side.interval.low, side.interval.high] if side.interval else None
    return {"value": side.value, "interval": interval}


def _sampling(model: LoadedModel, *, temperature: float | None, seed: int | None) -> SamplingConfig:
    """Return how the model goes on with a text unless it is asked otherwise."""
    names = [task.name for task in model.tasks.values() if isinstance(task, LanguageModeling)]
    own = model.sampling_for(names[0]) if names else default_sampling(LanguageModeling.kind)
    return override(own, temperature=temperature, seed=seed)


def _likelihoods(model: LoadedModel, samples: TextSamples) -> tuple[Measurement, Measurement]:
    prompts = samples.prompts if samples.is_paired else ("",) * len(samples.generated)
    return (
        _likelihood(model, prompts, samples.generated),
        _likelihood(model, samples.prompts, samples.real),
    )


def _likelihood(model: LoadedModel, prompts: Sequence[str], texts: Sequence[str]) -> Measurement:
    log_probs, num_tokens = text_log_probs(model, prompts, texts)
    return measure_perplexity(log_probs, num_tokens, [len(text.encode("utf-8")) for text in texts])


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


def _training_texts(directory: Path) -> Iterator[str] | None:
    """Return what a model learned from, as far as its own recipe says where that lies; None if it is not known."""
    path = directory / RECIPE_FILE
    if not path.is_file():
        return None
    try:
        recipe = read_config(Recipe, path)
        splits = [load_splits(task, seed=recipe.seed) for task in recipe.tasks]
    except BanyanError:  # the data has gone, or another version wrote the recipe: the comparison stands without it
        return None
    if any(split.prepared is not None for split in splits):
        return None
    return _first_characters(text for split in splits for row in split.train for text in strings_of(row))


def _first_characters(texts: Iterator[str]) -> Iterator[str]:
    used = 0
    for text in texts:
        used += len(text)
        if used > _MAX_TRAINING_CHARACTERS:
            return
        yield text


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
