"""Question answering: the stretch of a text that answers a question, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from banyan.core.config import config
from banyan.core.errors import ConfigError, ContextLengthError, DataError, InputError
from banyan.core.types import (
    ENDS_HERE,
    IN_CONTEXT,
    STARTS_HERE,
    Completion,
    HeadKind,
    HeadSpec,
    MaskKind,
    Prediction,
    Prompt,
    Row,
    Span,
)
from banyan.tasks.augmentation.config import NOISE
from banyan.tasks.augmentation.passage import Passage, WordSplitter, split_passage
from banyan.tasks.base import Asked, Supervision, Task
from banyan.tasks.fitting import fit_source
from banyan.tasks.metrics.answers import measure_answers
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.preprocessing import UNIT_STEPS
from banyan.tasks.rows import list_column, needed_columns, read_each, rename_columns, row_from_json, text_column
from banyan.tasks.units import Unit, encode_units, split_units
from banyan.tokenizers.vocabulary import Vocabulary

_NO_ANSWER_POSITION = 0
_SEPARATOR = "|||"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSpan:
    """A right answer and where it starts, in characters of the context."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """First character behind the answer."""
        return self.start + len(self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionExample:
    """A question about a context; `answers` is empty if the context has none, None if it is asked for."""

    question: str
    context: str
    answers: tuple[ReferenceSpan, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextNotes:
    """Which unit of the context each prompt position from `first` on belongs to."""

    context: str
    units: tuple[Unit, ...]
    first: int
    token_units: tuple[int, ...]

    def characters(self, first: int, last: int) -> tuple[int, int]:
        """Return the characters of the units between two prompt positions, end exclusive."""
        start = self.units[self.token_units[first - self.first]].start
        return start, self.units[self.token_units[last - self.first]].end

    def positions(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the first and last prompt position of the units that hold these characters.

        None if the stretch holds no unit, or was cut off in whole or in part.
        """
        touched = [n for n, unit in enumerate(self.units) if unit.start < end and unit.end > start]
        if not touched or touched[-1] not in self.token_units:
            return None
        first = self.token_units.index(touched[0])
        last = len(self.token_units) - 1 - self.token_units[::-1].index(touched[-1])
        return self.first + first, self.first + last


@config
class QuestionAnswering(Task[QuestionExample]):
    """Marks the answer in a context with a span head that has read question and context in both directions.

    Question and context are encoded unit by unit, so that an answer of whole words (or of Han characters) has exact
    positions, and a word looks the same in both.
    """

    kind: ClassVar[str] = "question_answering"
    main_metric: ClassVar[str] = "f1"
    other_metrics: ClassVar[tuple[str, ...]] = ("exact_match",)
    usual_mask: ClassVar[MaskKind] = MaskKind.PREFIX
    preprocessing: ClassVar[frozenset[str]] = UNIT_STEPS
    augmentations: ClassVar[frozenset[str]] = frozenset({*NOISE, "synonyms", "sentence_permutation"})

    may_be_empty: bool = False  # questions without an answer occur
    max_answer_tokens: int = 32
    matches: bool = False  # the head also reads where the question's tokens come again in the context

    def __post_init__(self) -> None:
        if self.max_answer_tokens < 1:
            raise ConfigError(f"task {self.name}: max_answer_tokens={self.max_answer_tokens} must be at least 1.")

    @property
    def head(self) -> HeadSpec:
        """Two scores for every position: the answer starts here, it ends here."""
        return HeadSpec(name=self.name, kind=HeadKind.SPAN, reads_matches=self.matches)

    @classmethod
    def fields_from_rows(cls, rows: Sequence[Row], *, columns: Mapping[str, str]) -> dict[str, Any]:
        """Find out whether some questions have no answer."""
        answers = read_each(rows, lambda row: _read_answers(rename_columns(row, columns)))
        return {"may_be_empty": not all(answers)}

    def parse(self, row: Row, *, with_answer: bool = True) -> QuestionExample:
        """Read a SQuAD row: {"question", "context", "answers"}, each answer with its text and start."""
        row = rename_columns(row, needed_columns(self.columns, with_answer, answers=("answers",)))
        return QuestionExample(
            question=text_column(row, "question"),
            context=text_column(row, "context"),
            answers=_read_answers(row) if with_answer else None,
        )

    def example_from_text(self, text: str) -> QuestionExample:
        """Read `question ||| context`, or the two as a JSON object."""
        return self.asked_from_text(text).example

    def asked_from_text(self, text: str) -> Asked[QuestionExample]:
        """Read question and context."""
        try:
            return self.asked_from_row(self._typed_row(text))
        except DataError as error:
            raise InputError(f"task {self.name} cannot read the question ({error}).") from error

    def _typed_row(self, text: str) -> Row:
        if text.lstrip().startswith("{"):
            return dict(row_from_json(text))
        question, found, context = text.partition(_SEPARATOR)
        if not found or not question.strip() or not context.strip():
            raise InputError(
                f"task {self.name} needs a question and the text that answers it.",
                hint=f'write "question {_SEPARATOR} text", or {{"question": "…", "context": "…"}}',
            )
        return {"question": question.strip(), "context": context.strip()}

    def prompt(self, example: QuestionExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|><|task|> question <|sep|> context <|sep|>`, or what an imported model has there.

        Only the context is ever cut.
        Raises: ContextLengthError if the question alone fills the prompt.
        """
        opening = vocabulary.open_task(self.name, instruction=self.instruction_for(example.question))
        tail = vocabulary.ask_answer()
        asked = encode_units(example.question, split_units(example.question), vocabulary, change=self.cleaned_unit)
        question = asked.token_ids
        head = (*opening, *question, *vocabulary.separate())
        units = split_units(example.context)
        encoded = encode_units(example.context, units, vocabulary, change=self.cleaned_unit)
        context, num_dropped = fit_source(
            encoded.token_ids,
            task=self.name,
            max_tokens=max_tokens,
            reserved_tokens=len(head) + len(tail),
            max_source_tokens=self._context_room(len(question), max_tokens=max_tokens),
            truncate=self.truncate,
        )
        return Prompt(
            task=self.name,
            token_ids=(*head, *context, *tail),
            mask=self.reading,
            decoding=Span(
                head=self.name,
                first=len(head),
                last=len(head) + len(context) - 1,
                max_tokens=self.max_answer_tokens,
                may_be_empty=self.may_be_empty,
            ),
            notes=ContextNotes(
                context=example.context,
                units=units,
                first=len(head),
                token_units=encoded.token_units[: len(context)],
            ),
            num_dropped_tokens=num_dropped,
        )

    def _context_room(self, question_tokens: int, *, max_tokens: int) -> int | None:
        """Return how much of `max_source_tokens` the question leaves to the context."""
        if self.max_source_tokens is None:
            return None
        if question_tokens >= self.max_source_tokens:
            raise ContextLengthError(
                f"task {self.name}: the question alone has {question_tokens} tokens; question and context together "
                f"may have max_source_tokens={self.max_source_tokens}.",
                num_prompt_tokens=question_tokens,
                max_seq_len=max_tokens,
                hint="shorten the question; the context would be cut, the question never",
            )
        return self.max_source_tokens - question_tokens

    def supervise(
        self, example: QuestionExample, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int
    ) -> Supervision:
        """Expect the first answer's ends at their positions; nothing if the answer was cut off or is too long."""
        if example.answers is None:
            raise DataError(f"task {self.name} cannot learn from a question whose answer is not given.")
        if not example.answers:
            return self._supervise_no_answer(prompt)
        answer = example.answers[0]
        notes: ContextNotes = prompt.notes
        found = notes.positions(answer.start, answer.end)
        if found is None or found[1] - found[0] >= self.max_answer_tokens:
            return Supervision()
        first, last = found
        ends = {first: STARTS_HERE, last: ENDS_HERE | (STARTS_HERE if first == last else 0)}
        return Supervision(prompt_targets=ends, prompt_marks=self._context_marks(prompt))

    def _context_marks(self, prompt: Prompt) -> dict[int, int]:
        """Tell the context from the question, for a head that compares them."""
        assert isinstance(prompt.decoding, Span)
        return dict.fromkeys(range(prompt.decoding.first, prompt.decoding.last + 1), IN_CONTEXT) if self.matches else {}

    def _supervise_no_answer(self, prompt: Prompt) -> Supervision:
        if not self.may_be_empty:
            raise DataError(
                f"task {self.name} met a question without an answer, but may_be_empty is off.",
                hint="set may_be_empty: true for this task, or drop such rows",
            )
        nowhere = {_NO_ANSWER_POSITION: STARTS_HERE | ENDS_HERE}
        return Supervision(prompt_targets=nowhere, prompt_marks=self._context_marks(prompt))

    def read(self, prompt: Prompt, completion: Completion, vocabulary: Vocabulary) -> Prediction:
        """Return the answer's words and where they stand in the context."""
        notes: ContextNotes = prompt.notes
        span = None if completion.span is None else notes.characters(*completion.span)
        return Prediction(
            task=self.name,
            text="" if span is None else notes.context[slice(*span)],
            score=completion.span_prob,
            span=span,
            num_prompt_tokens=len(prompt),
            num_dropped_tokens=prompt.num_dropped_tokens,
        )

    def passages(self, example: QuestionExample, *, split: WordSplitter) -> tuple[Passage, ...]:
        """Return the context, in which the answers must stay; the question is never touched."""
        kept = [(answer.start, answer.end) for answer in example.answers or ()]
        return (split_passage(example.context, units=split(example.context), kept=kept),)

    def with_passages(self, example: QuestionExample, passages: Sequence[Passage]) -> QuestionExample:
        """Return another context with the answers where they stand in it."""
        places = passages[0].places()

        def moved(answer: ReferenceSpan) -> ReferenceSpan:
            text = answer.text.strip()  # white space around it may be another one now
            first = answer.start + answer.text.index(text)
            origin = max(place for place in places if place <= first)
            return replace(answer, text=text, start=places[origin] + first - origin)

        answers = None if example.answers is None else tuple(map(moved, example.answers))
        return replace(example, context=passages[0].text, answers=answers)

    def reference(self, example: QuestionExample) -> str:
        """Return the first right answer."""
        return example.answers[0].text if example.answers else ""

    def references(self, example: QuestionExample) -> Sequence[str]:
        """Return every right answer; none where the context has none."""
        return tuple(answer.text for answer in example.answers or ())

    def source(self, example: QuestionExample) -> str:
        """Return question and context."""
        return f"{example.question} {_SEPARATOR} {example.context}"

    def measure(self, examples: Sequence[QuestionExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count SQuAD exact match and F1 against all right answers."""
        references = [self.references(example) for example in examples]
        return measure_answers(references, [prediction.text for prediction in predictions])


def _read_answers(row: Row) -> tuple[ReferenceSpan, ...]:
    """Read [{"text", "start" or "answer_start"}], or Hugging Face's {"text": […], "answer_start": […]}.

    Raises: DataError if an answer does not occur in the context.
    """
    context, given = text_column(row, "context"), row.get("answers") or []
    if isinstance(given, dict):
        texts, starts = given.get("text") or [], given.get("answer_start", given.get("start")) or []
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise DataError("column 'answers' must hold as many starts as texts.")
        return tuple(_read_answer(context, text, start) for text, start in zip(texts, starts, strict=True))
    items = list_column({"answers": given}, "answers")
    return tuple(_read_answer(context, *_text_and_start(item)) for item in items)


def _text_and_start(item: Any) -> tuple[Any, Any]:
    return (item.get("text"), item.get("start", item.get("answer_start"))) if isinstance(item, dict) else (item, None)


def _read_answer(context: str, text: Any, start: Any) -> ReferenceSpan:
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"an answer must be a text with something in it, got {text!r:.40}; no answer is an empty list.")
    if not isinstance(start, int) or start < 0 or context[start : start + len(text)] != text:
        start = context.find(text)
    if start < 0:
        raise DataError(f"answer {text!r:.60} does not occur in its context of {len(context)} characters.")
    return ReferenceSpan(text=text, start=start)
