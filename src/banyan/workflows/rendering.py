"""From the rows of any task to the sequences that are learned and the examples that are scored on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError, DataError
from banyan.core.types import Document, Row
from banyan.data.class_weights import class_weigher
from banyan.data.corpus import CORPUS_FILE, corpus_key, load_shards, load_sound_shards, read_report
from banyan.data.preparation import prepare_corpus
from banyan.data.sequences import ExampleSequences, SequenceSource, ShardWindows
from banyan.data.shards import SHARD_SUFFIX, ShardReader
from banyan.tasks.augmentation.sequences import AugmentedSequences
from banyan.tasks.base import Task
from banyan.tasks.image_generation import ImageGeneration
from banyan.tasks.kept_rendering import render_once
from banyan.tasks.language_modeling import LanguageModeling
from banyan.tasks.reading import read_examples
from banyan.tasks.rendering import Rendered, render_examples
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.workflows.augmenting import FOLDER as AUGMENTATION_FOLDER
from banyan.workflows.augmenting import build_augmenter
from banyan.workflows.picture_codes import RememberedCodes, with_copies
from banyan.workflows.picture_sequences import PictureSequences
from banyan.workflows.pictures import with_codes
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import Reporter

RENDERED = "rendered"  # folder of a run: the training sequences of its examples
_CODES = "codes"  # folder of a run: what its image tokenizer makes of its pictures
_MIN_KEPT = 500  # fewer examples are rendered in a moment, again and again
_MAX_UNUSABLE_SHARE = 0.2  # of a task's training rows; more means that the data or its columns are wrong


class Renderer:
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
