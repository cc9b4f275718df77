"""Picture classification: a picture, alone or with a text beside it, gets one of a fixed set of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from banyan.core.config import config
from banyan.core.errors import DataError
from banyan.core.types import Image, Prompt, Row
from banyan.tasks.captions import fill_from
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.tasks.picture_codes import with_codes
from banyan.tasks.picture_question import picture_question, typed_picture
from banyan.tasks.picture_uris import read_shown_picture
from banyan.tasks.rows import column, label_column, needed_columns, rename_columns
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenExample(ClassificationExample):
    """A picture, the text beside it (often none), and their label; None where it is asked for."""

    text: str = ""
    image: Image | None = None
    codes: tuple[int, ...] | None = None


@config
class PictureClassification(Classification):
    """Labels a picture together with the text beside it: one prompt holds both, so that they can be weighed up."""

    kind: ClassVar[str] = "picture_classification"
    has_pictures: ClassVar[bool] = True

    reads_text: bool = True  # False: the picture alone, whatever else the row holds

    @classmethod
    def fields_from_rows(cls, rows: Sequence[Row], *, columns: Mapping[str, str]) -> dict[str, Any]:
        """Return the labels, and whether any row has a text."""
        renamed = [{**row, **{ours: row.get(theirs) for ours, theirs in columns.items()}} for row in rows]
        found = super().fields_from_rows(rows, columns=columns)
        return found | {"reads_text": any(str(row.get("text") or "").strip() for row in renamed)}

    def parse(self, row: Row, *, with_answer: bool = True) -> SeenExample:
        """Read {"image", "label"} or {"text", "image", "label"}; the label as in classification."""
        row = rename_columns(row, needed_columns(self.columns, with_answer, answers=("label", "label_name")))
        return SeenExample(
            text=self._text_of(row),
            image=read_shown_picture(column(row, "image")),
            label=label_column(row, self.labels) if with_answer else None,
        )

    def _text_of(self, row: Row) -> str:
        if self.template is not None:
            return fill_from(row, self.template)
        text = row.get("text") if self.reads_text else None
        if text is not None and not isinstance(text, str):
            raise DataError(f"column 'text' must hold a text, got {type(text).__name__}.")
        return text or ""

    def example_from_text(self, text: str) -> SeenExample:
        """Ask for the label of a picture file, with a text behind a bar: `cat.png | a small animal`."""
        image, words = typed_picture(self.name, text)
        return SeenExample(text=words if self.reads_text else "", image=image)

    def see(self, examples: Sequence[ClassificationExample], tokenizer: ImageTokenizer) -> list[ClassificationExample]:
        """Return the examples with the codes of their pictures."""
        return [*with_codes([one for one in examples if isinstance(one, SeenExample)], tokenizer)]

    def prompt(self, example: ClassificationExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|><|task|><|image|> codes <|/image|> text <|sep|>`; the label is read at the last position."""
        assert isinstance(example, SeenExample)
        decoding = self._decoding(vocabulary)
        return picture_question(
            self,
            example.codes,
            example.text,
            vocabulary,
            decoding=decoding,
            num_answer_tokens=max(map(len, decoding.label_token_ids), default=0),
            max_tokens=max_tokens,
        )

    def source(self, example: ClassificationExample) -> str:
        """Return what can be written of the question."""
        return f"(a picture) {example.text}".strip()
