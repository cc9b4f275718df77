"""`banyan evaluate --probe`: how much of a task each layer of the trunk already holds, read out by a linear classifier.

Source: Alain & Bengio 2016, "Understanding intermediate layers using linear classifier probes".
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from banyan.core.config import read_config
from banyan.core.errors import ConfigError, DataError
from banyan.data.catalog import CATALOG
from banyan.infer.embedding import EmbeddingConfig, Pooling
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.classification import ClassificationExample
from banyan.tasks.config import TaskConfig, TaskDataConfig, build_task
from banyan.tasks.intervals import Interval, compare, confidence_intervals
from banyan.tasks.metrics.labels import measure_labels
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.reading import read_examples
from banyan.workflows.datasets import load_splits, spread
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter
from banyan.workflows.sidecars import RECIPE_FILE

SCORE = "accuracy"
_TEST_FRACTION = 0.2  # of a file that comes without a test split
_STRENGTH = 1.0  # of the classifier's fit against its penalty, scikit-learn's own default
_BATCH = 256  # texts between two moves of the progress bar
_MAX_STEPS = 2000
_NOTHING_HELD_OUT = "name a file of other examples, with the columns text and label: --probe FILE"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerScore:
    """How well a linear classifier on one layer does, on examples it did not learn from."""

    layer: int  # blocks below it; 0: the embeddings
    accuracy: float
    macro_f1: float
    interval: Interval  # 95 %, of the accuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """How much of a task each layer holds."""

    data: str
    pooling: str
    num_labels: int
    num_train: int
    num_test: int
    majority: LayerScore  # always the commonest label; its layer means nothing
    layers: tuple[LayerScore, ...]  # from the embeddings up
    best: int  # the layer with the highest accuracy, the lowest of several
    first_as_good: int  # the lowest layer that the best one does not beat with 95 % confidence
    is_held: bool  # does the best layer beat the majority with 95 % confidence?


def probe(
    directory: Path,
    data: str,
    *,
    max_examples: int,
    seed: int,
    reporter: Reporter,
    pooling: Pooling = Pooling.MEAN,
) -> Probe:
    """Score a linear classifier on the pooled vectors of every layer of a model.

    `data` is a classification task of the model, a data set of the catalog, or a file of {"text", "label"}; a fifth of
    what comes without a test split is held out. At most `max_examples` are learned from, and as many scored. The same
    seed gives the same scores.
    Raises: ConfigError, FileError, DataError if there is no such data, or too little to learn from.
    """
    reporter.stage("load")
    with load(directory) as model:
        train, test = probe_examples(data, model=model, max_examples=max_examples, seed=seed)
        reporter.stage("read")
        vectors = _read(model, [example.text for example in (*train, *test)], pooling, reporter)
    reporter.stage("probe")
    labels = [[example.label or "" for example in side] for side in (train, test)]
    measured = []
    for layer in range(vectors.shape[1]):
        reporter.progress(layer, vectors.shape[1], note=f"layer {layer}")
        answered = fit_and_answer(vectors[: len(train), layer], labels[0], vectors[len(train) :, layer], seed=seed)
        measured.append(measure_labels(labels[1], answered, labels=sorted(set(labels[0]))))
    return _result(data, pooling, measured, labels, seed=seed)


def probe_examples(
    data: str, *, model: LoadedModel, max_examples: int, seed: int
) -> tuple[Sequence[ClassificationExample], Sequence[ClassificationExample]]:
    """Return what a probe learns from and what it is scored on.

    Raises: ConfigError for a task of another kind, or a single label; FileError, DataError for data that is too little
    or cannot be read.
    """
    config, recipe_seed = _data_config(data, model)
    splits = load_splits(config, seed=seed if recipe_seed is None else recipe_seed)
    task = build_task(config, rows=splits.described_by)
    train, test = (
        read_examples(task, spread(split, max_examples)).examples if split else ()
        for split in (splits.train, splits.test)
    )
    if len({example.label for example in train}) < 2 or not test:
        raise DataError(
            f"{data} has {len(train)} rows to learn from and {len(test)} to score; a probe needs both, and 2 labels.",
            hint="allow more with --max-examples, or name a larger file" if test else _NOTHING_HELD_OUT,
        )
    return train, test


def fit_and_answer(
    train: NDArray[np.float32], labels: Sequence[str], test: NDArray[np.float32], *, seed: int
) -> list[str]:
    """Fit a logistic regression on standardised vectors and return its labels for others.

    Shapes: train (N, D) with N labels; test (M, D).
    """
    # Here, for they take a second to import, which no other evaluation should wait for.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=_STRENGTH, max_iter=_MAX_STEPS, random_state=seed)
    classifier = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        # Where classes lie apart the weights grow without an end; the labels have settled long before.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(train, list(labels))
    return [str(label) for label in classifier.predict(test)]


def _data_config(data: str, model: LoadedModel) -> tuple[TaskConfig, int | None]:
    """Return where the examples lie, and the seed that a model's own recipe has split them by."""
    if data in model.tasks:
        recipe = model.directory / RECIPE_FILE
        own = read_config(Recipe, recipe) if recipe.is_file() else None
        config = next((task for task in own.tasks if task.name == data), None) if own is not None else None
        if config is None or own is None:
            raise ConfigError(
                f"the model does not say what task {data} was trained on.", hint="--probe FILE, or a catalog name"
            )
        _check_kind(data, config.kind)
        return config, own.seed
    if data in CATALOG and not Path(data).exists():
        _check_kind(data, CATALOG[data].kind)
        has_test = "test" in CATALOG[data].files
        place = TaskDataConfig(train=data, test=data if has_test else None, test_fraction=_fraction(has_test))
    else:
        place = TaskDataConfig(train=data, test_fraction=_TEST_FRACTION)
    return TaskConfig(name="probe", kind="classification", data=place), None


def _fraction(has_test: bool) -> float:
    return 0.0 if has_test else _TEST_FRACTION


def _check_kind(data: str, kind: str) -> None:
    if kind != "classification":
        raise ConfigError(
            f"--probe {data} is of kind {kind}; a linear probe reads out labels, so it needs classification."
        )


def _read(model: LoadedModel, texts: Sequence[str], pooling: Pooling, reporter: Reporter) -> NDArray[np.float32]:
    """Return the vectors of every layer, (texts, layers, D), in one pass over each text."""
    layers = tuple(range(model.model.config.num_layers + 1))
    how = EmbeddingConfig(pooling=pooling, layers=layers, normalises=False)
    batches = []
    for first in range(0, len(texts), _BATCH):
        reporter.progress(first, len(texts), note=f"{first} of {len(texts)} texts")
        batches.append(model.engine.embed(texts[first : first + _BATCH], how, first_number=first + 1).numpy())
    reporter.progress(len(texts), len(texts), note=f"{len(texts)} of {len(texts)} texts")
    return np.concatenate(batches)


def _result(
    data: str, pooling: Pooling, measured: Sequence[Measurement], labels: Sequence[Sequence[str]], *, seed: int
) -> Probe:
    train, test = labels
    commonest = max(sorted(set(train)), key=train.count)
    majority = measure_labels(test, [commonest] * len(test), labels=sorted(set(train)))
    layers = tuple(_layer_score(layer, each, seed=seed) for layer, each in enumerate(measured))
    best = max(layers, key=lambda score: (score.accuracy, -score.layer)).layer
    as_good = (
        layer
        for layer, each in enumerate(measured)
        if layer == best or not compare(measured[best], each, score=SCORE, seed=seed).is_better
    )
    return Probe(
        data=data,
        pooling=str(pooling),
        num_labels=len(set(train)),
        num_train=len(train),
        num_test=len(test),
        majority=_layer_score(-1, majority, seed=seed),
        layers=layers,
        best=best,
        first_as_good=next(as_good),
        is_held=compare(measured[best], majority, score=SCORE, seed=seed).is_better,
    )


def _layer_score(layer: int, measured: Measurement, *, seed: int) -> LayerScore:
    scores: dict[str, Any] = dict(measured.scores())
    return LayerScore(
        layer=layer,
        accuracy=scores[SCORE],
        macro_f1=scores["macro_f1"],
        interval=confidence_intervals(measured, seed=seed)[SCORE],
    )
