"""`banyan evaluate --compare`: generated text beside real text, read, written and scored."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from banyan.core.config import read_config
from banyan.core.errors import BanyanError
from banyan.core.files import atomic_write_bytes, atomic_write_json, atomic_write_text
from banyan.data.checking import strings_of
from banyan.infer.sampling import SamplingConfig
from banyan.runtime.defaults import default_sampling, override
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tasks.metrics.likelihood import measure_perplexity
from banyan.tasks.metrics.measurement import Measurement
from banyan.workflows.comparison_plot import draw_texts
from banyan.workflows.datasets import load_splits
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.sidecars import RECIPE_FILE
from banyan.workflows.text_samples import TextSamples, generate_beside, read_beside, text_log_probs
from banyan.workflows.text_scores import QUANTILES, Side, TextComparison, compare_samples

JSON_FILE, PLOT_FILE, SAMPLES_FILE = "comparison.json", "comparison.png", "samples.jsonl"
_MAX_TRAINING_CHARACTERS = 64_000_000


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
