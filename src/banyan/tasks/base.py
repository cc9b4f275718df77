"""What a task is: how an example becomes tokens, how a completion becomes a prediction, how predictions are scored.

A kind of task is one class; a task is one object of it, made of plain values only, so that `spec()` can be written
beside a model and read back. Training, evaluation and serving all build their token ids in `Task.prompt`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from banyan.core.config import config, config_to_mapping
from banyan.core.errors import ConfigError
from banyan.core.types import (
    NO_GRID,
    NO_TARGET,
    Completion,
    HeadSpec,
    MaskKind,
    Prediction,
    Prompt,
    Row,
    TokenSequence,
)
from banyan.tasks.augmentation.passage import Passage, WordSplitter
from banyan.tasks.instructions import default_instruction
from banyan.tasks.metrics.measurement import Measurement, Scores
from banyan.tasks.preprocessing import Preprocessing
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.vocabulary import Vocabulary

E = TypeVar("E")


@dataclass(frozen=True, kw_only=True, slots=True)
class Supervision:
    """What a training sequence knows beyond its prompt."""

    answer_ids: tuple[int, ...] = ()  # predicted in turn, from the prompt's last position on; the last one is no input
    prompt_targets: Mapping[int, int] = field(default_factory=dict)  # targets at positions of the prompt itself
    prompt_marks: Mapping[int, int] = field(default_factory=dict)  # bits of targets there that are no goals: no loss
    grid_ids: tuple[int, ...] = ()  # which picture cell each position predicts; empty: no picture


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(Generic[E]):
    """A question that somebody asked, read once."""

    example: E  # without an answer
    row: Row  # under the names of the kind's own format: with an answer, a training row


@config
class Task(ABC, Generic[E]):
    """One named task. `E` is the type of its examples."""

    kind: ClassVar[str]
    main_metric: ClassVar[str]  # the score that chooses the best checkpoint, unless the recipe names another
    other_metrics: ClassVar[tuple[str, ...]] = ()  # that the recipe may name instead
    usual_mask: ClassVar[MaskKind]  # how a question is read unless the recipe says otherwise
    may_choose_mask: ClassVar[bool] = True
    preprocessing: ClassVar[frozenset[str]] = frozenset()  # steps of `preprocess` that its answers go together with
    augmentations: ClassVar[frozenset[str]] = frozenset()  # methods of `augment` that leave its answers right
    has_pictures: ClassVar[bool] = False  # examples hold a picture as `image` and, once encoded, as `codes`

    name: str
    columns: dict[str, str] = field(default_factory=dict)  # our column name → the name the user's rows have
    truncate: bool = True  # cut a source that is too long; False: refuse it
    max_source_tokens: int | None = None  # None: as many as the model's context leaves room for
    instruction: str | None = None  # what a model without task tokens is told; None: made from kind and name
    mask: Literal["causal", "prefix", "full"] | None = None  # how a question is read; None: as its kind usually is
    preprocess: Preprocessing | None = None  # how texts are cleaned before they are read; None: they stay as they are
    metric: str | None = None  # the score that chooses the best checkpoint; None: `main_metric`

    @property
    def chosen_metric(self) -> str:
        """The score that chooses the best checkpoint."""
        return self.metric or self.main_metric

    @property
    def reading(self) -> MaskKind:
        """How a question is read: in the order of its words, or in both directions."""
        return self.usual_mask if self.mask is None else MaskKind(self.mask)

    @property
    def head(self) -> HeadSpec | None:
        """The task's own output layer; None where the language-model head answers."""
        return None

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller `main_metric` is the better one."""
        return False

    @classmethod
    def fields_from_rows(cls, rows: Sequence[Row], *, columns: Mapping[str, str]) -> dict[str, Any]:
        """Work out the fields that a recipe may leave out, such as the labels, from the training rows."""
        return {}

    def taught_by(self, rows: Sequence[Row]) -> Self:
        """Return the task with what a model remembers of its training rows beside the fields of a recipe."""
        return self

    @abstractmethod
    def parse(self, row: Row, *, with_answer: bool = True) -> E:
        """Read one record in any of the formats the kind knows; without its answer if the record only asks.

        Raises: DataError naming the column that is missing or wrong.
        """

    def cleaned(self, text: str) -> str:
        """Return a text as the model reads it."""
        return text if self.preprocess is None else self.preprocess.clean(text)

    def cleaned_unit(self, text: str) -> str:
        """Return one unit of a text as the model reads it."""
        return text if self.preprocess is None else self.preprocess.clean_unit(text)

    def instruction_for(self, text: str) -> str:
        """Return what a model without task tokens is told to do with a text."""
        return default_instruction(self.kind, self.name, text=text) if self.instruction is None else self.instruction

    def examples_from_row(self, row: Row) -> tuple[E, ...]:
        """Return every example that one training row holds; for most kinds there is one."""
        return (self.parse(row),)

    @abstractmethod
    def example_from_text(self, text: str) -> E:
        """Make the question that a person typed on one line into an example without an answer.

        Raises: InputError if the text cannot be a question of this kind.
        """

    def asked_from_text(self, text: str) -> Asked[E]:
        """Read the question that a person typed on one line.

        Raises: as `example_from_text`.
        """
        return Asked(example=self.example_from_text(text), row={"text": text})

    def asked_from_row(self, row: Row) -> Asked[E]:
        """Read the question of a record, whatever else the record holds.

        Raises: as `parse`.
        """
        return Asked(example=self.parse(row, with_answer=False), row=self.own_names(row))

    def read_question(self, given: str | Row) -> Asked[E]:
        """Read a question as it was asked: typed on one line, or a record.

        Raises: as `example_from_text` and `parse`.
        """
        return self.asked_from_text(given) if isinstance(given, str) else self.asked_from_row(given)

    def own_names(self, row: Row) -> Row:
        """Return a record under the names of the kind's own format beside those of the user."""
        renamed = {ours: row[theirs] for ours, theirs in self.columns.items() if row.get(theirs) is not None}
        return {**row, **renamed}

    def see(self, examples: Sequence[E], tokenizer: ImageTokenizer) -> list[E]:
        """Return the examples with the codes of their pictures; most kinds have none and return them as they are."""
        return list(examples)

    @abstractmethod
    def prompt(self, example: E, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Ask the question: the one place where a task's token ids are built.

        Units:  max_tokens counts prompt and answer together; room for the answer is kept free.
        Raises: ContextLengthError if the source is too long and `truncate` is off.
        """

    @abstractmethod
    def supervise(self, example: E, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int) -> Supervision:
        """Return what the model should answer to the prompt.

        Raises: DataError if the example has no answer.
        """

    @abstractmethod
    def read(self, prompt: Prompt, completion: Completion, vocabulary: Vocabulary) -> Prediction:
        """Make a completion into an answer that a person can read."""

    def passages(self, example: E, *, split: WordSplitter) -> tuple[Passage, ...]:
        """Return the texts of an example that may be worded otherwise, in words; what an answer needs must stay."""
        return ()

    def with_passages(self, example: E, passages: Sequence[Passage]) -> E:
        """Return the example with other wordings of its passages, and its answer where it lies in them."""
        return example

    def label(self, example: E) -> str | None:
        """Return the label that single words of the text may give away; None for kinds without one."""
        return None

    @abstractmethod
    def reference(self, example: E) -> str:
        """Return the right answer as a report shows it; empty where the example has none."""

    def references(self, example: E) -> Sequence[str]:
        """Return every answer that counts as right."""
        return (self.reference(example),)

    @abstractmethod
    def source(self, example: E) -> str:
        """Return the question as a report shows it."""

    @abstractmethod
    def measure(self, examples: Sequence[E], predictions: Sequence[Prediction]) -> Measurement:
        """Compare predictions with the examples' answers, one row of counts for each example."""

    def render(
        self, example: E, vocabulary: Vocabulary, *, max_tokens: int, drop_source: bool = False
    ) -> TokenSequence:
        """Make the example into what a model learns; its first ids are those of `prompt`.

        `drop_source` asks without the wish (classifier-free guidance); only pictures can be asked for like that.
        """
        prompt = self.prompt(example, vocabulary, max_tokens=max_tokens)
        if drop_source:
            prompt = _without_wish(prompt)
        return self.complete(prompt, example, vocabulary, max_tokens=max_tokens)

    def complete(self, prompt: Prompt, example: E, vocabulary: Vocabulary, *, max_tokens: int) -> TokenSequence:
        """Lay the example's answer behind its prompt.

        Raises: DataError if the example has no answer.
        """
        return join_prompt_and_answer(prompt, self.supervise(example, prompt, vocabulary, max_tokens=max_tokens))

    def score(self, examples: Sequence[E], predictions: Sequence[Prediction]) -> Scores:
        """Return every score of the kind, by name."""
        return self.measure(examples, predictions).scores()

    def spec(self) -> dict[str, Any]:
        """Return the task as plain values; `task_from_spec` makes the same task of them."""
        return {"kind": self.kind, **config_to_mapping(self)}


def join_prompt_and_answer(prompt: Prompt, answer: Supervision) -> TokenSequence:
    """Lay the answer behind the prompt, with every target at the position that predicts it.

    A written answer is causal whatever the mask of its prompt: under FULL it would be read before it is predicted.
    """
    token_ids = prompt.token_ids + answer.answer_ids[:-1]
    targets = [NO_TARGET] * len(token_ids)
    for position, target in answer.prompt_targets.items():
        targets[position] = target
    for offset, target in enumerate(answer.answer_ids):
        targets[len(prompt) - 1 + offset] = target
    loss_weights = tuple(0.0 if target == NO_TARGET else 1.0 for target in targets)
    for position, bits in answer.prompt_marks.items():
        targets[position] = bits if targets[position] == NO_TARGET else targets[position] | bits
    return TokenSequence(
        task=prompt.task,
        token_ids=token_ids,
        targets=tuple(targets),
        loss_weights=loss_weights,
        mask=MaskKind.PREFIX if prompt.mask is MaskKind.FULL and answer.answer_ids else prompt.mask,
        prefix_len=0 if prompt.mask is MaskKind.CAUSAL else len(prompt),
        grid_ids=_padded_grid(answer.grid_ids or prompt.grid_ids, len(token_ids)),
    )


def _padded_grid(grid_ids: tuple[int, ...], length: int) -> tuple[int, ...]:
    """Fill up with NO_GRID; a sequence without a picture keeps its empty grid."""
    return grid_ids + (NO_GRID,) * (length - len(grid_ids)) if grid_ids else ()


def _without_wish(prompt: Prompt) -> Prompt:
    if not prompt.unconditional_token_ids:
        raise ConfigError(f"task {prompt.task} cannot be asked without its source; only pictures can.")
    return dataclasses.replace(prompt, token_ids=prompt.unconditional_token_ids)


def completed_text(completion: Completion, vocabulary: Vocabulary) -> str:
    """Return the text of a completion, exact where the engine has cut it inside a token."""
    return vocabulary.decode(completion.token_ids) if completion.text is None else completion.text
