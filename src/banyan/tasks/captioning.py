"""Captioning: a picture becomes words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import ClassVar

from banyan.core.config import config
from banyan.core.types import Prediction, Prompt, Row, Text
from banyan.tasks.captions import label_of
from banyan.tasks.fitting import answer_room
from banyan.tasks.image_generation import PictureExample, read_captions
from banyan.tasks.metrics.answers import measure_answers
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.metrics.summaries import measure_summaries
from banyan.tasks.picture_codes import with_codes
from banyan.tasks.picture_question import picture_question, typed_picture
from banyan.tasks.picture_uris import read_shown_picture
from banyan.tasks.rows import column, needed_columns, rename_columns
from banyan.tasks.text_to_text import TextToText
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.vocabulary import Vocabulary


@config
class Captioning(TextToText[PictureExample]):
    """Says what is to be seen in a picture."""

    kind: ClassVar[str] = "captioning"
    main_metric: ClassVar[str] = "token_f1"
    has_pictures: ClassVar[bool] = True

    max_answer_tokens: int = 32
    template: str | None = None  # "{name}": the caption, made of columns
    captions: tuple[str, ...] = ()  # several templates; {name} is whatever the row's label is called
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # label → its names, in any language

    def parse(self, row: Row, *, with_answer: bool = True) -> PictureExample:
        """Read {"image", "text" or "caption"}; of several captions one, chosen by a hash of all, is learned."""
        answers = ("text", "caption", "captions", "label", "label_name")
        row = rename_columns(row, needed_columns(self.columns, with_answer, answers=answers))
        example = PictureExample(caption="", image=read_shown_picture(column(row, "image")))
        if not with_answer:
            return example
        captions, chosen = read_captions(row, template=self.template, templates=self.captions, names=self.names)
        return replace(example, caption=chosen, captions=captions, label=label_of(row))

    def example_from_text(self, text: str) -> PictureExample:
        """Ask what is to be seen in a picture file."""
        return PictureExample(caption="", image=typed_picture(self.name, text)[0])

    def see(self, examples: Sequence[PictureExample], tokenizer: ImageTokenizer) -> list[PictureExample]:
        """Return the examples with the codes of their pictures; one that has no picture stays as it is."""
        return with_codes(examples, tokenizer)

    def prompt(self, example: PictureExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|><|task|><|image|> codes <|/image|><|sep|>`."""
        room = answer_room(self.max_answer_tokens, max_tokens=max_tokens)
        decoding = Text(
            max_tokens=room,
            stop_token_ids=vocabulary.answer_stop_ids,
            drops_first_space=vocabulary.drops_first_space,
        )
        return picture_question(
            self, example.codes, "", vocabulary, decoding=decoding, num_answer_tokens=room, max_tokens=max_tokens
        )

    def preface(self, example: PictureExample) -> str:
        """Return nothing: what to do is said by the task token, or by the instruction."""
        return ""

    def source(self, example: PictureExample) -> str:
        """Return what can be written of the question."""
        return "(a picture)"

    def references(self, example: PictureExample) -> Sequence[str]:
        """Return the captions, the one that is learned first."""
        return tuple(dict.fromkeys((example.caption, *example.captions))) if example.caption else ()

    def measure(self, examples: Sequence[PictureExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count token F1, exact match and ROUGE against the nearest of the captions."""
        references = [tuple(self.references(example)) or ("",) for example in examples]
        answered = [prediction.text for prediction in predictions]
        words = measure_answers(references, answered).renamed({"f1": "token_f1", "exact_match": "exact_match"})
        return words.beside(measure_summaries(references, answered))
