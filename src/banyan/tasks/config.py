"""The recipe's description of a task, and how it becomes a task."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import field
from typing import Any, Literal

from banyan.core.config import config, config_from_mapping
from banyan.core.errors import ConfigError
from banyan.core.registry import did_you_mean
from banyan.core.types import MAX_NGRAM_BUCKETS, Pooling, Row
from banyan.data.class_weights import ClassWeights
from banyan.data.masking import MaskShares
from banyan.tasks.augmentation.config import Augmentation, check_augmentation
from banyan.tasks.base import Task
from banyan.tasks.preprocessing import Preprocessing
from banyan.tasks.registry import TASK_KINDS, kind_of_task

# For the training run, not for the task.
_NOT_PASSED_ON = {"options", "kind", "data", "weight", "rate", "label_smoothing", "class_weights", "augment"}


@config
class TaskDataConfig:
    """Where a task's examples come from: files, folders, or splits of the catalog."""

    train: str | list[str] | None = None
    validation: str | list[str] | None = None
    test: str | list[str] | None = None
    format: str = "auto"
    columns: dict[str, str] = field(default_factory=dict)  # our column name → the name in these files
    max_examples: int | None = None  # per split; None: all
    epoch_examples: int | None = None  # training examples that make an epoch, and count in the mixture; None: all
    validation_fraction: float = 0.0  # of the training rows, where no validation file is named
    test_fraction: float = 0.0  # of the training rows, where no test file is named
    max_bad_share: float = 0.01  # unreadable training rows that are left out and counted; more of them stop a run

    def __post_init__(self) -> None:
        for name in ("validation_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 0.5:
                raise ConfigError(f"data.{name}={getattr(self, name)} must lie between 0 and 0.5.")
        if not 0 <= self.max_bad_share < 1:
            raise ConfigError(f"data.max_bad_share={self.max_bad_share} must be at least 0 and below 1.")
        if self.max_examples is not None and self.max_examples < 1:
            raise ConfigError(f"data.max_examples={self.max_examples} must be at least 1; leave it out to use all.")
        if self.epoch_examples is not None and self.epoch_examples < 1:
            raise ConfigError(f"data.epoch_examples={self.epoch_examples} must be at least 1; leave it out for all.")


@config
class TaskConfig:
    """One task of a recipe. Keys that its kind does not use must be left out."""

    name: str  # also the name of its head and of its metrics
    kind: str  # an entry of TASK_KINDS
    data: TaskDataConfig = field(default_factory=TaskDataConfig)
    labels: tuple[str, ...] = ()  # empty: taken from the training data
    answer: Literal["head", "words"] | None = None  # classification: None is "head"
    pooling: Pooling | None = None  # classification: what the head reads; None: the mean of all positions
    matches: bool | None = None  # question answering: the head also reads where the question comes again in the context
    ngram_buckets: int | None = None  # classification: rows of a table of tokens and pairs the head reads besides
    weight: float = 1.0  # of this task's loss
    label_smoothing: float = 0.0  # part of every target that is spread over all choices, 0 <= part < 1
    preprocess: Preprocessing | None = None  # texts are cleaned before they are read; None: they stay as they are
    augment: Augmentation | None = None  # examples worded otherwise while they are learned; None: learned as they are
    class_weights: ClassWeights | None = None  # of labels and tags: balanced, or by name; None: all count the same
    rate: float | None = None  # share of the training rows; None: by size
    max_source_tokens: int | None = None
    max_answer_tokens: int | None = None
    truncate: bool | None = None  # None: cut a source that is too long
    source_language: str | None = None
    target_language: str | None = None
    template: str | None = None
    captions: tuple[str, ...] = ()  # pictures: templates; {name} is whatever the row's label is called
    names: dict[str, tuple[str, ...]] | None = None  # pictures: label → its names, in any language
    caption_dropout: float | None = None  # image generation: share learned without a wish, for guidance
    reads_text: bool | None = None  # picture classification: the row's text counts, too; None: where rows have one
    both_directions: bool | None = None  # translation: learn every row forwards and backwards
    unit: Literal["word", "character"] | None = None  # tagging: what gets a tag; None: as the data has it
    may_be_empty: bool | None = None  # question answering: some questions have no answer; None: as in the data
    system: str | None = None  # dialogue: said at the start of every conversation
    sees_pictures: bool | None = None  # dialogue: messages may hold pictures; None: where some in the rows do
    instruction: str | None = None  # what an imported model is told to do with a text; None: made from kind and name
    mask: Literal["causal", "prefix", "full"] | None = None  # how a question is read; None: as its kind usually is
    masks: MaskShares | None = None  # language modelling: shares of the text that are read in both directions
    metric: str | None = None  # the score that chooses the best checkpoint; None: as is usual for the kind
    options: dict[str, Any] = field(default_factory=dict)  # fields of a kind from a plug-in, which have no key here

    def __post_init__(self) -> None:
        self._check_metric(kind_of_task(self.kind))  # an unknown kind says which one is near
        if not self.name.replace("_", "").replace("-", "").isalnum():
            raise ConfigError(f"task name {self.name!r} may hold only letters, digits, - and _.")
        if self.weight <= 0:
            raise ConfigError(f"task {self.name}: weight={self.weight} must be above 0.")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(
                f"task {self.name}: label_smoothing={self.label_smoothing} must be at least 0 and below 1."
            )
        if self.label_smoothing and self.kind == "question_answering":
            raise ConfigError(
                f"task {self.name}: label_smoothing={self.label_smoothing} has no meaning for a span of the text.",
                hint="leave label_smoothing out",
            )
        if self.preprocess is not None:
            allowed = TASK_KINDS[self.kind].preprocessing
            self.preprocess.check(task=self.name, kind=self.kind, allowed=allowed)
        if self.augment is not None:
            allowed = TASK_KINDS[self.kind].augmentations
            check_augmentation(self.augment, task=self.name, kind=self.kind, allowed=allowed)
        if self.class_weights is not None:
            self._check_class_weights(self.class_weights)
        if self.ngram_buckets is not None and not 0 <= self.ngram_buckets <= MAX_NGRAM_BUCKETS:
            raise ConfigError(
                f"task {self.name}: ngram_buckets={self.ngram_buckets} must lie between 0 and {MAX_NGRAM_BUCKETS:,}."
            )
        if self.rate is not None and not 0 < self.rate <= 1:
            raise ConfigError(f"task {self.name}: rate={self.rate} must lie between 0 and 1.")

    def _check_metric(self, kind: type[Task[Any]]) -> None:
        if own := next((key for key in self.options if key in {f.name for f in dataclasses.fields(self)}), None):
            raise ConfigError(f"task {self.name}: options.{own} has a key of its own.", hint=f"write {own}: … instead")
        metrics = (kind.main_metric, *kind.other_metrics)
        if self.metric is not None and self.metric not in metrics:
            raise ConfigError(
                f"task {self.name}: metric={self.metric} cannot choose{did_you_mean(self.metric, metrics)}"
            )

    def _check_class_weights(self, weights: ClassWeights) -> None:
        if self.kind not in ("classification", "tagging") or self.answer == "words":
            raise ConfigError(
                f"task {self.name}: class_weights need a head that chooses among labels, and this task has none.",
                hint="leave class_weights out, or use answer: head",
            )
        if weights != "balanced" and (low := next((name for name, value in weights.items() if value <= 0), None)):
            raise ConfigError(f"task {self.name}: class_weights.{low}={weights[low]} must be above 0.")


def build_task(config: TaskConfig, *, rows: Sequence[Row] = (), **extra: Any) -> Task[Any]:
    """Make the task a recipe describes; what it leaves out (labels …) is worked out from the training rows.

    `extra` holds fields that no recipe can know, such as the sizes of the image tokenizer.
    Raises: ConfigError for a key that the kind does not use; DataError if the rows cannot be read.
    """
    kind = TASK_KINDS[config.kind]
    given = {f.name: getattr(config, f.name) for f in dataclasses.fields(config) if f.name not in _NOT_PASSED_ON}
    values = {key: value for key, value in given.items() if value is not None and value != ()} | config.options | extra
    values["columns"] = config.data.columns
    known = {f.name for f in dataclasses.fields(kind)}
    if "pooling" in known:  # a task that a model brings along without it reads the last position, as all once did
        values.setdefault("pooling", "mean")
    for key in values.keys() - known:
        raise ConfigError(
            f"task {config.name}: a {config.kind} task does not use {key!r}; it uses {', '.join(sorted(known))}."
        )
    if config.mask is not None and not kind.may_choose_mask:
        raise ConfigError(
            f"task {config.name}: mask={config.mask} cannot be chosen for {config.kind}, which is always read "
            f"{kind.usual_mask.value}.",
            hint="leave mask out",
        )
    if rows:
        values = kind.fields_from_rows(rows, columns=config.data.columns) | values
    task = config_from_mapping(kind, values, source=f"task {config.name}")
    return task.taught_by(rows) if rows else task
