"""What a recipe needs before the first step: vocabulary, tasks, rendered training sequences, examples to score on."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError, DataError
from banyan.core.files import sha256_of
from banyan.core.types import Document, Row
from banyan.data.class_weights import class_weigher
from banyan.data.corpus import CORPUS_FILE, corpus_key, load_shards, load_sound_shards, read_report
from banyan.data.mixture import RatePlan, mixture_rates, rate_plan
from banyan.data.preparation import prepare_corpus
from banyan.data.sequences import ExampleSequences, SequenceSource, ShardWindows
from banyan.data.shards import SHARD_SUFFIX, ShardReader
from banyan.infer.sampling import SamplingConfig
from banyan.tasks.augmentation.sequences import AugmentedSequences
from banyan.tasks.base import Task
from banyan.tasks.config import TaskConfig, build_task
from banyan.tasks.image_generation import ImageGeneration, picture_fields
from banyan.tasks.kept_rendering import render_once
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tasks.reading import read_examples
from banyan.tasks.rendering import Rendered, render_examples
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.workflows.augmenting import FOLDER as AUGMENTATION_FOLDER
from banyan.workflows.augmenting import build_augmenter
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
from banyan.workflows.picture_codes import RememberedCodes, with_copies
from banyan.workflows.picture_sequences import PictureSequences
from banyan.workflows.pictures import draws, with_codes
from banyan.workflows.recipe import Recipe
from banyan.workflows.replay import write_texts
from banyan.workflows.reporter import Reporter
from banyan.workflows.run_tokenizers import claim_tokenizers, run_image_tokenizer, run_text_tokenizer

RENDERED = "rendered"  # folder of a run: the training sequences of its examples
_CODES = "codes"  # folder of a run: what its image tokenizer makes of its pictures
_MIN_KEPT = 500  # fewer examples are rendered in a moment, again and again
_MAX_UNUSABLE_SHARE = 0.2  # of a task's training rows; more means that the data or its columns are wrong


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
    renderer = _Renderer(recipe, vocabulary, image_tokenizer, run_directory, key=fingerprint, reporter=reporter)
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
    renderer: _Renderer, tasks: Sequence[Task[Any]], splits: Mapping[str, Splits], *, reporter: Reporter
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


class _Renderer:
    """Turns the rows of any task into training sequences and into examples to score on."""

    def __init__(
        self,
        recipe: Recipe,
        vocabulary: Vocabulary,
        image_tokenizer: ImageTokenizer | None,
        run_directory: Path,
        *,
        key: str,
        reporter: Reporter,
    ) -> None:
        self._seq_len = recipe.train.seq_len
        self._class_weights = {config.name: config.class_weights for config in recipe.tasks}
        self._augment = {config.name: config.augment for config in recipe.tasks}
        self._build_augmenter = partial(
            build_augmenter,
            parent=recipe.transfer.parent,
            folder=run_directory / AUGMENTATION_FOLDER,
            key=key,
            reporter=reporter,
        )
        self._vocabulary = vocabulary
        self._max_bad_shares = {config.name: config.data.max_bad_share for config in recipe.tasks}
        self._copies, self._seed = recipe.image_tokenizer, recipe.seed
        codes = run_directory / _CODES
        self._image_tokenizer = None if image_tokenizer is None else RememberedCodes(image_tokenizer, codes)
        self._run_directory = run_directory
        self._key = corpus_key(key, vocabulary.text.to_json())  # what is read, and how it is cut
        seen = None if self._image_tokenizer is None else [self._image_tokenizer.sha256, self._copies, self._seed]
        self._examples_key = corpus_key(self._key, seen)  # the same of examples, which may hold codes of pictures

    def source(self, task: Task[Any], examples: Sequence[Any]) -> tuple[SequenceSource, int]:
        """Return a task's training sequences and how many of its examples had to be left out."""
        if task.kind == "language_modeling":
            return self._windows(task, examples), 0
        if isinstance(task, ImageGeneration):
            return PictureSequences(task, examples, self._vocabulary, max_tokens=self._seq_len), 0
        rendered = self._rendered(task, examples)
        skipped = rendered.num_without_target + rendered.num_too_long
        if skipped > _MAX_UNUSABLE_SHARE * len(examples):
            raise DataError(
                f"task {task.name}: {skipped} of {len(examples)} training examples do not fit {self._seq_len} tokens "
                f"({rendered.num_without_target} lost their answer, {rendered.num_too_long} are too long).",
                hint="raise train.seq_len, or set max_source_tokens",
            )
        labels = () if task.head is None else task.head.labels
        weights = self._class_weights.get(task.name)
        weigh = class_weigher(rendered.sequences, weights, labels=labels)
        sequences = rendered.sequences if weights is None else [weigh(sequence) for sequence in rendered.sequences]
        augment = self._augment.get(task.name)
        if augment is None:
            return ExampleSequences(task.name, sequences), skipped
        augmented = AugmentedSequences(
            task,
            rendered.examples,
            sequences,
            augmenter=self._build_augmenter(task, augment, rendered.examples),
            vocabulary=self._vocabulary,
            max_tokens=self._seq_len,
            weigh=weigh,
        )
        return augmented, skipped

    def _rendered(self, task: Task[Any], examples: Sequence[Any]) -> Rendered[Any]:
        if len(examples) < _MIN_KEPT:
            return render_examples(task, examples, self._vocabulary, max_tokens=self._seq_len)
        return render_once(
            task,
            examples,
            self._vocabulary,
            max_tokens=self._seq_len,
            path=self._run_directory / RENDERED / f"{task.name}{SHARD_SUFFIX}",
            key=self._examples_key,
        )

    def shard_windows(self, task: Task[Any], prepared: Path) -> tuple[SequenceSource, int]:
        """Return the windows over a prepared corpus, and how many of its documents are damaged and left out.

        Raises: DataError naming shard and offset if many are, or if the shards do not fit the tokenizer.
        """
        report = read_report(prepared / CORPUS_FILE)
        if report.vocab_size > self._vocabulary.text_size:
            raise DataError(
                f"the shards of {prepared} hold ids below {report.vocab_size}, the tokenizer makes "
                f"{self._vocabulary.text_size}.",
                hint="prepare them again with the tokenizer of this run",
            )
        found = load_sound_shards(prepared, report)
        return self._cut(task, found.shards, left_out=found.left_out), found.num_left_out

    def examples(self, task: Task[Any], rows: Sequence[Row], split: str) -> list[Any]:
        """Return the examples of a held-out split: all of them, or none.

        Raises: DataError naming the first row that cannot be read.
        """
        try:
            return with_codes(task, read_examples(task, rows, max_bad_fraction=0.0).examples, self._image_tokenizer)
        except DataError as error:
            raise DataError(f"{split} data: {error.message}", hint=error.hint) from error

    def usable(self, task: Task[Any], rows: Sequence[Row]) -> tuple[list[Any], int]:
        """Return the examples of the training rows that can be read, and how many rows cannot.

        Raises: DataError if so many cannot be read that something else must be wrong.
        """
        found = read_examples(task, rows, max_bad_fraction=self._max_bad_shares[task.name])
        examples = list(found.examples)
        if task.has_pictures and self._image_tokenizer is not None:
            examples = with_copies(examples, self._image_tokenizer, self._copies, seed=self._seed)
        return with_codes(task, examples, self._image_tokenizer), len(found.bad_rows)

    def _windows(self, task: Task[Any], examples: Sequence[Any]) -> SequenceSource:
        documents = (
            Document(text=example.text, source=task.name, identity=str(number))
            for number, example in enumerate(examples)
        )
        corpus = self._run_directory / "corpus" / task.name
        report = prepare_corpus(
            documents, corpus, encoder=self._vocabulary, vocab_size=self._vocabulary.size, key=self._key
        )
        return self._cut(task, load_shards(corpus, report))

    def _cut(
        self, task: Task[Any], shards: Sequence[ShardReader], *, left_out: Sequence[Collection[int]] = ()
    ) -> SequenceSource:
        vocabulary = self._vocabulary
        masks = task.masks if isinstance(task, LanguageModeling) else None
        if masks is not None and not hasattr(vocabulary, "null_id"):
            raise ConfigError(
                f"task {task.name}: masks hide tokens behind <|null|>, which the chat format {vocabulary.chat.name} "
                "does not have.",
                hint="leave masks out, or set transfer.grow_vocabulary.task_tokens=true",
            )
        return ShardWindows(
            task.name,
            shards,
            seq_len=self._seq_len,
            start_ids=vocabulary.start_ids or (vocabulary.bos_id,),  # the first token needs one to be predicted from
            end_id=vocabulary.eos_id,
            left_out=left_out,
            masks=masks,
            hidden_id=0 if masks is None else vocabulary.null_id,
        )
