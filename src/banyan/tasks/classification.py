"""Classification: a text gets one of a fixed set of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from banyan.core.config import config
from banyan.core.errors import ConfigError, DataError, InputError
from banyan.core.types import Completion, HeadKind, HeadSpec, LabelSet, MaskKind, Pooling, Prediction, Prompt, Row
from banyan.tasks.augmentation.config import METHODS
from banyan.tasks.augmentation.passage import Passage, WordSplitter, split_passage
from banyan.tasks.base import Supervision, Task
from banyan.tasks.fitting import fit_source
from banyan.tasks.instructions import default_instruction
from banyan.tasks.metrics.calibration import measure_calibration
from banyan.tasks.metrics.labels import measure_labels
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.preprocessing import ALL_STEPS
from banyan.tasks.rows import label_column, needed_columns, read_each, rename_columns, source_text
from banyan.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassificationExample:
    """A text and its label; None where it is asked for."""

    text: str
    label: str | None = None


@config
class Classification(Task[ClassificationExample]):
    """Labels a text, through a linear head at its end or by scoring the labels as words."""

    kind: ClassVar[str] = "classification"
    main_metric: ClassVar[str] = "accuracy"
    other_metrics: ClassVar[tuple[str, ...]] = ("macro_f1",)
    usual_mask: ClassVar[MaskKind] = MaskKind.PREFIX
    preprocessing: ClassVar[frozenset[str]] = ALL_STEPS
    augmentations: ClassVar[frozenset[str]] = frozenset(METHODS)

    labels: tuple[str, ...]
    answer: Literal["head", "words"] = "head"
    pooling: Pooling = "last"  # what the head reads: the prompt's last position, or the mean of all
    ngram_buckets: int = 0  # rows of the head's own table of tokens and pairs; 0: it reads the trunk alone
    template: str | None = None  # "{title}. {description}": the text, made of several columns

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ConfigError(
                f"task {self.name} needs at least two different labels, got {list(self.labels)}.",
                hint="list them in the recipe as labels: [...], or leave it out to take them from the data",
            )
        if self.ngram_buckets and (self.answer == "words" or self.pooling != "mean"):
            raise ConfigError(
                f"task {self.name}: ngram_buckets={self.ngram_buckets} needs answer: head and pooling: mean."
            )

    @property
    def head(self) -> HeadSpec | None:
        """A linear layer on the prompt, unless the labels are answered as words."""
        if self.answer == "words":
            return None
        return HeadSpec(
            name=self.name,
            kind=HeadKind.CLASSIFICATION,
            labels=self.labels,
            pooling=self.pooling,
            ngram_buckets=self.ngram_buckets,
        )

    @classmethod
    def fields_from_rows(cls, rows: Sequence[Row], *, columns: Mapping[str, str]) -> dict[str, Any]:
        """Return the labels, in order of their numbers where they have numbers, else in alphabetical order."""

        def name_and_number(row: Row) -> tuple[str, Any]:
            renamed = rename_columns(row, columns)
            return label_column(renamed, ()), renamed.get("label")

        names = dict(read_each(rows, name_and_number))
        if all(isinstance(number, int) for number in names.values()):
            return {"labels": tuple(sorted(names, key=lambda name: names[name]))}
        return {"labels": tuple(sorted(names))}

    def parse(self, row: Row, *, with_answer: bool = True) -> ClassificationExample:
        """Read {"text", "label"}; the label is a word, a number into `labels`, or stands in `label_name`."""
        row = rename_columns(row, needed_columns(self.columns, with_answer, answers=("label", "label_name")))
        label = label_column(row, self.labels) if with_answer else None
        return ClassificationExample(text=source_text(row, template=self.template), label=label)

    def example_from_text(self, text: str) -> ClassificationExample:
        """Ask for the label of a text."""
        if not text.strip():
            raise InputError(f"task {self.name} cannot label a blank text.")
        return ClassificationExample(text=text)

    def prompt(self, example: ClassificationExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|><|task|> text <|sep|>`, or what an imported model has there.

        The label is read at the last position.
        """
        decoding = self._decoding(vocabulary)
        head = vocabulary.open_task(self.name, instruction=self.instruction_for(example.text))
        tail = vocabulary.ask_answer()
        source, num_dropped = fit_source(
            vocabulary.encode_inside(self.cleaned(example.text)),
            task=self.name,
            max_tokens=max_tokens,
            reserved_tokens=len(head) + len(tail) + max(map(len, decoding.label_token_ids), default=0),
            max_source_tokens=self.max_source_tokens,
            truncate=self.truncate,
        )
        return Prompt(
            task=self.name,
            token_ids=(*head, *source, *tail),
            mask=self.reading,
            decoding=decoding,
            num_dropped_tokens=num_dropped,
        )

    def instruction_for(self, text: str) -> str:
        """Return what a model without task tokens is told; the labels are listed where it has to write one."""
        if self.instruction is not None:
            return self.instruction
        labels = self.labels if self.answer == "words" else ()
        return default_instruction(self.kind, self.name, text=text, labels=labels)

    def supervise(
        self, example: ClassificationExample, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int
    ) -> Supervision:
        """Expect the label's number at the last position, or the label's words."""
        if example.label not in self.labels:
            raise DataError(f"task {self.name} cannot learn from an example with the label {example.label!r}.")
        number = self.labels.index(example.label)
        if self.answer == "words":
            return Supervision(answer_ids=self._decoding(vocabulary).label_token_ids[number])
        return Supervision(prompt_targets={len(prompt) - 1: number})

    def read(self, prompt: Prompt, completion: Completion, vocabulary: Vocabulary) -> Prediction:
        """Return the likeliest label, with the probability of every label."""
        ranked = sorted(zip(self.labels, completion.label_probs, strict=True), key=lambda pair: -pair[1])
        label, probability = ranked[0]
        return Prediction(
            task=self.name,
            text=label,
            score=probability,
            labels=dict(ranked),
            num_prompt_tokens=len(prompt),
            num_dropped_tokens=prompt.num_dropped_tokens,
        )

    def passages(self, example: ClassificationExample, *, split: WordSplitter) -> tuple[Passage, ...]:
        """Return the text."""
        return (split_passage(example.text, units=split(example.text)),)

    def with_passages(self, example: ClassificationExample, passages: Sequence[Passage]) -> ClassificationExample:
        """Return another text with the same label."""
        return replace(example, text=passages[0].text)

    def label(self, example: ClassificationExample) -> str | None:
        """Return the label."""
        return example.label

    def reference(self, example: ClassificationExample) -> str:
        """Return the label."""
        return example.label or ""

    def source(self, example: ClassificationExample) -> str:
        """Return the text."""
        return example.text

    def measure(self, examples: Sequence[ClassificationExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count accuracy and macro-F1, and where probabilities were given, how well they are calibrated."""
        expected = [self.reference(example) for example in examples]
        answered = [prediction.text for prediction in predictions]
        counted = measure_labels(expected, answered, labels=self.labels)
        confidences = [prediction.score for prediction in predictions if prediction.score is not None]
        if len(confidences) < len(predictions):
            return counted
        is_right = [due == given for due, given in zip(expected, answered, strict=True)]
        return counted.beside(measure_calibration(confidences, is_right))

    def _decoding(self, vocabulary: Vocabulary) -> LabelSet:
        if self.answer == "head":
            return LabelSet(labels=self.labels, head=self.name, pooling=self.pooling)
        words = tuple((*vocabulary.encode_answer(label), vocabulary.end_answer_id) for label in self.labels)
        return LabelSet(labels=self.labels, label_token_ids=words)
