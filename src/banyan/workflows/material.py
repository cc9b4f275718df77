"""What a recipe needs before the first step: vocabulary, tasks, rendered training sequences, examples to score on."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from banyan.core.errors import DataError
from banyan.core.files import sha256_of
from banyan.data.corpus import CORPUS_FILE
from banyan.data.mixture import RatePlan, mixture_rates, rate_plan
from banyan.data.sequences import SequenceSource
from banyan.infer.sampling import SamplingConfig
from banyan.tasks.base import Task
from banyan.tasks.config import TaskConfig, build_task
from banyan.tasks.image_generation import ImageGeneration, picture_fields
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.workflows.datasets import SPLITS, Splits, load_splits
from banyan.workflows.new_vocabulary import with_tasks
from banyan.workflows.parent import (
    Parent,
    child_tasks,
    open_parent,
    read_as_the_parent_does,
    with_inherited_directions,
    with_inherited_labels,
)
from banyan.workflows.pictures import draws
from banyan.workflows.recipe import Recipe
from banyan.workflows.rendering import Renderer
from banyan.workflows.replay import write_texts
from banyan.workflows.reporter import Reporter
from banyan.workflows.run_tokenizers import claim_tokenizers, run_image_tokenizer, run_text_tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Everything that is known before training begins."""

    vocabulary: Vocabulary
    image_tokenizer: ImageTokenizer | None
    tasks: tuple[Task[Any], ...]  # that the run teaches, in the recipe's order
    known_tasks: tuple[Task[Any], ...]  # that the model answers, in the order of their task tokens
    parent: Parent | None  # what the run begins with
    sources: tuple[SequenceSource, ...]  # one per task, in the same order
    rates: dict[str, float]  # share of the training rows, by task; where a plan changes it, at the beginning
    plan: RatePlan | None = None  # of the shares over the run; None: they stay the same
    validation: dict[str, list[Any]]  # examples, by task
    test: dict[str, list[Any]]
    train: dict[str, list[Any]]  # what baselines learn from
    fingerprint: str  # SHA-256 over all rows
    skipped: dict[str, int]  # training rows that cannot be learned from, by task
    sampling: dict[str, SamplingConfig]  # how a task answers unless asked otherwise

    @property
    def pictures(self) -> dict[str, list[Any]]:
        """Training examples of the tasks that draw."""
        return {task.name: self.train[task.name] for task in self.tasks if isinstance(task, ImageGeneration)}


def gather_material(
    recipe: Recipe,
    run_directory: Path,
    *,
    reporter: Reporter,
    expected_fingerprint: str | None = None,
    keep_tokenizers: bool = False,
) -> Material:
    """Read the data, train or load the tokenizers, render every example. What is already in the run folder is reused.

    `expected_fingerprint` is that of the data a resumed run has learned from; None: any data will do. With
    `keep_tokenizers` those in the run folder serve also for rows that they were not trained on.
    Raises: FileError, DataError, ConfigError for the first thing that cannot be used.
    """
    parent = open_parent(recipe, run_directory)
    write_texts(recipe, reporter=reporter)
    reporter.stage("read data")
    splits = {task.name: load_splits(task, seed=recipe.seed) for task in recipe.tasks}
    fingerprint = fingerprint_rows(splits)
    if expected_fingerprint not in (None, fingerprint):  # another tokenizer would follow, and other ids
        raise _other_data(run_directory)
    reporter.stage("tokenizer")
    tokenizers = run_directory / "tokenizer"
    if keep_tokenizers:
        claim_tokenizers(recipe, tokenizers, key=fingerprint)
    image_tokenizer = run_image_tokenizer(recipe, splits, tokenizers, key=fingerprint, parent=parent)
    configs = [read_as_the_parent_does(with_inherited_labels(config, parent), parent) for config in recipe.tasks]
    built = (_build(config, splits[config.name], image_tokenizer) for config in configs)
    tasks = tuple(with_inherited_directions(task, parent) for task in built)
    known = tasks if parent is None else child_tasks(parent, tasks, keep_tasks=recipe.transfer.keep_tasks)
    vocabulary = _vocabulary(
        recipe, splits, tokenizers, key=fingerprint, tasks=known, image_tokenizer=image_tokenizer, parent=parent
    )
    reporter.stage("render examples")
    renderer = Renderer(recipe, vocabulary, image_tokenizer, run_directory, key=fingerprint, reporter=reporter)
    taught = _taught(renderer, tasks, splits, reporter=reporter)
    rates, plan = shares_of(recipe, taught.sources)
    return Material(
        vocabulary=vocabulary,
        image_tokenizer=image_tokenizer,
        tasks=tasks,
        known_tasks=known,
        parent=parent,
        sources=taught.sources,
        rates=rates,
        plan=plan,
        validation={t.name: renderer.examples(t, splits[t.name].validation, "validation") for t in tasks},
        train=taught.examples,
        test={t.name: renderer.examples(t, splits[t.name].test, "test") for t in tasks},
        fingerprint=fingerprint,
        skipped=taught.skipped,
        sampling={**(parent.sampling_of(known) if parent else {}), **recipe.sampling},
    )


def _vocabulary(
    recipe: Recipe,
    splits: dict[str, Splits],
    directory: Path,
    *,
    key: str,
    tasks: Sequence[Task[Any]],
    image_tokenizer: ImageTokenizer | None,
    parent: Parent | None,
) -> Vocabulary:
    """Return one id space for words, pictures and tasks: the parent's with its new tasks, or one of the run's own."""
    names = [task.name for task in tasks]
    if parent is not None:
        parent.check_shards([split.prepared for split in splits.values() if split.prepared is not None])
        return with_tasks(parent.vocabulary, names)
    text = run_text_tokenizer(recipe, splits, directory, key=key)
    num_image_codes = image_tokenizer.num_codes if image_tokenizer else 0
    return Vocabulary(text, task_names=names, num_image_codes=num_image_codes)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Taught:
    """What is learned from, task by task."""

    sources: tuple[SequenceSource, ...]  # in the order of the tasks
    examples: dict[str, list[Any]]
    skipped: dict[str, int]  # rows that cannot be learned from


def _taught(
    renderer: Renderer, tasks: Sequence[Task[Any]], splits: Mapping[str, Splits], *, reporter: Reporter
) -> _Taught:
    """Render the training rows of every task."""
    sources: list[SequenceSource] = []
    examples: dict[str, list[Any]] = {}
    skipped: dict[str, int] = {}
    for number, task in enumerate(tasks):
        examples[task.name], num_unreadable = renderer.usable(task, splits[task.name].train)
        prepared = splits[task.name].prepared
        if prepared is None:
            source, num_unlearnable = renderer.source(task, examples[task.name])
        else:
            source, num_unlearnable = renderer.shard_windows(task, prepared)
        skipped[task.name] = num_unreadable + num_unlearnable
        sources.append(source)
        reporter.progress(number + 1, len(tasks), note=task.name)
    return _Taught(sources=tuple(sources), examples=examples, skipped=skipped)


def _other_data(run_directory: Path) -> DataError:
    return DataError(
        f"cannot resume {run_directory}: the rows of its data files are not those the run began with.",
        hint="bring the earlier files back, go on with --accept-data-change, or start a run with another name",
    )


def fingerprint_rows(splits: dict[str, Splits]) -> str:
    """Return the SHA-256 of all rows of all tasks: the same data gives the same fingerprint."""
    digest = sha256()
    for name, split in splits.items():
        if split.prepared is not None:  # its corpus.json holds the hash of every shard
            digest.update(f"{name}/prepared {sha256_of(split.prepared / CORPUS_FILE)}\n".encode())
        # With the names between them: rows that change places are other data.
        for row in itertools.chain.from_iterable((f"{name}/{part}", *split.named(part)) for part in SPLITS):
            digest.update(json.dumps(row, sort_keys=True, default=_bytes_digest).encode() + b"\n")
    return digest.hexdigest()


def _bytes_digest(value: Any) -> str:
    return sha256(value).hexdigest() if isinstance(value, bytes) else str(value)


def _build(config: TaskConfig, splits: Splits, image_tokenizer: ImageTokenizer | None) -> Task[Any]:
    extra = picture_fields(image_tokenizer) if image_tokenizer and draws(config) else {}
    return build_task(config, rows=splits.described_by, **extra)


def shares_of(recipe: Recipe, sources: Sequence[SequenceSource]) -> tuple[dict[str, float], RatePlan | None]:
    """Return the shares of the tasks at the beginning and, where they move, over the run.

    A set counts with as many examples as an epoch of it has.
    """
    given = {task.name: task.rate for task in recipe.tasks if task.rate is not None}
    mixture = dataclasses.replace(recipe.mixture, rates={**recipe.mixture.rates, **given})
    caps = {task.name: task.data.epoch_examples for task in recipe.tasks}
    sizes = {source.task: min(len(source), caps.get(source.task) or len(source)) for source in sources}
    plan = rate_plan(sizes, mixture)
    return (mixture_rates(sizes, mixture) if plan is None else plan.rates_at_start), plan
