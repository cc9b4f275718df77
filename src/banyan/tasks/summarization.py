"""Summarization: a long text becomes a short one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from banyan.core.config import config
from banyan.core.errors import DataError, InputError
from banyan.core.types import Prediction, Row
from banyan.tasks.augmentation.config import NOISE
from banyan.tasks.augmentation.passage import Passage, WordSplitter, split_passage
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.metrics.summaries import measure_summaries
from banyan.tasks.rows import list_column, needed_columns, rename_columns, source_text, text_column
from banyan.tasks.text_to_text import TextToText


@dataclass(frozen=True, kw_only=True, slots=True)
class SummaryExample:
    """A document and one or several summaries of it; none where they are asked for."""

    document: str
    summaries: tuple[str, ...] = ()


@config
class Summarization(TextToText[SummaryExample]):
    """Writes the summary of a document."""

    kind: ClassVar[str] = "summarization"
    main_metric: ClassVar[str] = "rouge1"
    other_metrics: ClassVar[tuple[str, ...]] = ("rouge2", "rougeL")
    augmentations: ClassVar[frozenset[str]] = frozenset({*NOISE, "synonyms", "sentence_permutation"})

    template: str | None = None  # "{title}\n{body}": the document, made of several columns

    def parse(self, row: Row, *, with_answer: bool = True) -> SummaryExample:
        """Read {"document", "summary"}; a summary may be a list, and `summaries` is read as well."""
        row = rename_columns(row, needed_columns(self.columns, with_answer, answers=("summary", "summaries")))
        if self.template is None:
            document = text_column(row, "text" if row.get("document") is None and "text" in row else "document")
        else:
            document = source_text(row, template=self.template)
        return SummaryExample(document=document, summaries=_read_summaries(row) if with_answer else ())

    def example_from_text(self, text: str) -> SummaryExample:
        """Ask for the summary of a text."""
        if not text.strip():
            raise InputError(f"task {self.name} cannot summarize a blank text.")
        return SummaryExample(document=text)

    def preface(self, example: SummaryExample) -> str:
        """Return nothing: what to do is said by the task token, or by the instruction."""
        return ""

    def source(self, example: SummaryExample) -> str:
        """Return the document."""
        return example.document

    def passages(self, example: SummaryExample, *, split: WordSplitter) -> tuple[Passage, ...]:
        """Return the document."""
        return (split_passage(example.document, units=split(example.document)),)

    def with_passages(self, example: SummaryExample, passages: Sequence[Passage]) -> SummaryExample:
        """Return another document with the same summaries."""
        return replace(example, document=passages[0].text)

    def references(self, example: SummaryExample) -> Sequence[str]:
        """Return the summaries."""
        return example.summaries

    def measure(self, examples: Sequence[SummaryExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count ROUGE against all summaries."""
        references = [example.summaries or ("",) for example in examples]
        return measure_summaries(references, [prediction.text for prediction in predictions])


def _read_summaries(row: Row) -> tuple[str, ...]:
    name = "summaries" if row.get("summaries") is not None else "summary"
    texts = list_column(row, name) if isinstance(row.get(name), list | tuple) else [text_column(row, name)]
    summaries = tuple(text for text in texts if isinstance(text, str) and text.strip())
    if not summaries:
        raise DataError(f"column {name!r} is blank; every example needs a text there.")
    return summaries
