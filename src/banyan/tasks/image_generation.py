"""Image generation: a caption becomes a picture, drawn as a grid of image codes.

The task itself only knows codes. `encode_pictures` gives examples their codes before they are rendered, and
`show_picture` gives a prediction its picture; both take the image tokenizer that the model was trained with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, ClassVar

from banyan.core.config import config
from banyan.core.errors import ConfigError, ContextLengthError, DataError, InputError
from banyan.core.types import NO_GRID, Completion, Image, ImageGrid, MaskKind, Prediction, Prompt, Row
from banyan.tasks.base import Supervision, Task
from banyan.tasks.captions import LABEL_ALONE, captions_of, label_of
from banyan.tasks.fitting import fit_source
from banyan.tasks.metrics.labels import measure_labels
from banyan.tasks.metrics.likelihood import BITS_PER_CODE
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.picture_codes import with_codes
from banyan.tasks.pictures import place_of, read_picture
from banyan.tasks.rows import column, fill_template, needed_columns, rename_columns
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.vocabulary import Vocabulary

_CAPTION_COLUMNS = ("text", "caption", "captions")


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureExample:
    """A caption and the picture it asks for, as pixels and, once encoded, as codes."""

    caption: str
    captions: tuple[str, ...] = ()  # all captions of the picture, `caption` among them
    image: Image | None = None
    codes: tuple[int, ...] | None = None
    other_codes: tuple[tuple[int, ...], ...] = ()  # of the picture changed in ways that do not change what it shows
    label: str = ""  # what a classifier should see in it


@config
class ImageGeneration(Task[PictureExample]):
    """Draws what a caption asks for."""

    kind: ClassVar[str] = "image_generation"
    main_metric: ClassVar[str] = "accuracy"
    other_metrics: ClassVar[tuple[str, ...]] = (BITS_PER_CODE,)
    usual_mask: ClassVar[MaskKind] = MaskKind.PREFIX
    may_choose_mask: ClassVar[bool] = False
    has_pictures: ClassVar[bool] = True

    grid_size: int  # rows = columns of codes, from the image tokenizer
    num_codes: int
    template: str | None = None  # "a picture of {name}": the caption, made of columns
    captions: tuple[str, ...] = ()  # several templates; {name} is whatever the row's label is called
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # label → its names, in any language
    caption_dropout: float = 0.1  # share of the training sequences without a wish, 0 <= share < 1

    @property
    def lower_is_better(self) -> bool:
        """Whether fewer bits choose the best checkpoint."""
        return self.chosen_metric == BITS_PER_CODE

    def __post_init__(self) -> None:
        if self.template is not None and self.captions:
            raise ConfigError(f"task {self.name}: template and captions both say how a caption is made; give one.")
        if not 0 <= self.caption_dropout < 1:
            raise ConfigError(f"task {self.name}: caption_dropout={self.caption_dropout} must be at least 0, below 1.")
        if self.grid_size < 1 or self.num_codes < 2:
            raise ConfigError(
                f"task {self.name}: a grid of {self.grid_size} and {self.num_codes} codes make no picture.",
                hint="take both from the image tokenizer",
            )

    def parse(self, row: Row, *, with_answer: bool = True) -> PictureExample:
        """Read {"image", "text" or "caption"}, or {"image", "label"} where the label's names make the captions.

        Of several captions one is chosen by a hash of them all.
        """
        row = rename_columns(row, needed_columns(self.columns, with_answer, answers=("image", "label", "label_name")))
        captions, chosen = read_captions(row, template=self.template, templates=self.captions, names=self.names)
        return PictureExample(
            caption=chosen,
            captions=captions,
            image=read_picture(column(row, "image")) if with_answer else None,
            label=label_of(row),
        )

    def see(self, examples: Sequence[PictureExample], tokenizer: ImageTokenizer) -> list[PictureExample]:
        """Return the examples with the codes of their pictures; one that has no picture stays as it is."""
        return with_codes(examples, tokenizer)

    def with_caption(self, example: PictureExample, number: int) -> PictureExample:
        """Return the example with another of its captions, counted round and round."""
        return replace(example, caption=example.captions[number % len(example.captions)])

    def with_copy(self, example: PictureExample, number: int) -> PictureExample:
        """Return the example with the codes of one of its picture's copies, counted round and round."""
        if example.codes is None or not example.other_codes:
            return example
        copies = (example.codes, *example.other_codes)
        return replace(example, codes=copies[number % len(copies)])

    def example_from_text(self, text: str) -> PictureExample:
        """Ask for a picture."""
        if not text.strip():
            raise InputError(f"task {self.name} cannot draw a blank wish.", hint="say what to draw, such as a cat")
        return PictureExample(caption=text)

    def prompt(self, example: PictureExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|><|task|> caption <|sep|><|image|>`; without the wish the caption is `<|null|>`.

        Raises: ConfigError if the vocabulary has no tokens for pictures.
        """
        tail = vocabulary.ask_picture()
        head = vocabulary.open_task(self.name, instruction=self.instruction_for(example.caption))
        grid = ImageGrid(grid_size=self.grid_size, first_code_id=vocabulary.first_image_id, num_codes=self.num_codes)
        self._check_room(grid, num_marks=len(head) + len(tail), max_tokens=max_tokens)
        source, num_dropped = fit_source(
            vocabulary.encode_inside(example.caption),
            task=self.name,
            max_tokens=max_tokens,
            reserved_tokens=len(head) + len(tail) + grid.num_tokens,
            max_source_tokens=self.max_source_tokens,
            truncate=self.truncate,
        )
        return Prompt(
            task=self.name,
            token_ids=(*head, *source, *tail),
            mask=self.reading,
            decoding=grid,
            unconditional_token_ids=(*head, vocabulary.null_id, *tail),
            num_dropped_tokens=num_dropped,
        )

    def _check_room(self, grid: ImageGrid, *, num_marks: int, max_tokens: int) -> None:
        needed = grid.num_tokens + num_marks + 1
        if max_tokens < needed:
            raise ContextLengthError(
                f"task {self.name}: a picture of {grid.num_tokens} codes and a prompt do not fit {max_tokens} tokens.",
                num_prompt_tokens=needed,
                max_seq_len=max_tokens,
                hint="use a longer context (model.max_seq_len), or an image tokenizer with a smaller grid",
            )

    def supervise(
        self, example: PictureExample, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int
    ) -> Supervision:
        """Expect every code of the picture, row by row, and its end token."""
        if example.codes is None:
            raise DataError(
                f"task {self.name} cannot learn from a picture without codes.", hint="call encode_pictures first"
            )
        if len(example.codes) != self.grid_size**2:
            raise DataError(
                f"task {self.name}: a picture has {len(example.codes)} codes, its grid {self.grid_size**2} cells."
            )
        codes = tuple(vocabulary.image_token(code) for code in example.codes)
        return Supervision(
            answer_ids=(*codes, vocabulary.end_image_id),
            grid_ids=(*[NO_GRID] * (len(prompt) - 1), *range(len(codes))),
        )

    def read(self, prompt: Prompt, completion: Completion, vocabulary: Vocabulary) -> Prediction:
        """Return the picture's codes; `show_picture` turns them into pixels."""
        return Prediction(
            task=self.name,
            text="",
            image_codes=tuple(vocabulary.image_code(token_id) for token_id in completion.token_ids),
            finish_reason=completion.finish_reason,
            num_prompt_tokens=len(prompt),
            num_completion_tokens=len(completion.token_ids),
            num_dropped_tokens=prompt.num_dropped_tokens,
        )

    def reference(self, example: PictureExample) -> str:
        """Return what a classifier should see."""
        return example.label

    def source(self, example: PictureExample) -> str:
        """Return the caption."""
        return example.caption

    def measure(self, examples: Sequence[PictureExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count how often a classifier saw in the picture what was asked for; `judge_pictures` lets it look."""
        expected = [example.label for example in examples]
        return measure_labels(expected, [prediction.text for prediction in predictions], labels=())


def read_captions(
    row: Row, *, template: str | None, templates: Sequence[str], names: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], str]:
    """Return every caption of a row, and one of them chosen by a hash of them all.

    They come from the template or templates, from a column of captions, or from the label where there is no more.
    Raises: DataError if a column is missing or holds no caption.
    """
    captions = _all_captions(row, template=template, templates=templates, names=names)
    return captions, captions[_hash("\n".join(captions)) % len(captions)]


def _all_captions(
    row: Row, *, template: str | None, templates: Sequence[str], names: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    if template is not None:
        return (fill_template(template, row),)
    name = next((name for name in _CAPTION_COLUMNS if row.get(name) is not None), None)
    if templates or (name is None and label_of(row)):
        return captions_of(row, templates=templates or LABEL_ALONE, names=names)
    name = name or _CAPTION_COLUMNS[0]
    value = column(row, name)
    captions = tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(text, str) for text in captions):
        raise DataError(f"column {name!r} must hold a caption, or a list of captions, got {type(value).__name__}.")
    if not captions or not all(map(str.strip, captions)):
        raise DataError(
            f"column {name!r}{place_of(row.get('image'))} is blank: a picture needs a caption.",
            hint="write what it shows, or leave the picture out",
        )
    return captions


def picture_fields(tokenizer: ImageTokenizer) -> Mapping[str, Any]:
    """Return the fields of the task that follow from the image tokenizer, for `build_task`."""
    return {"grid_size": tokenizer.grid_size, "num_codes": tokenizer.num_codes}


def encode_pictures(examples: Sequence[PictureExample], tokenizer: ImageTokenizer) -> list[PictureExample]:
    """Return the examples with the codes of their pictures, scaled to the tokenizer's size.

    Raises: DataError for an example without a picture.
    """
    for number, example in enumerate(examples, start=1):
        if example.image is None and example.codes is None:
            raise DataError(f"example {number} ({example.caption!r}) has no picture to encode.")
    return with_codes(examples, tokenizer)


def show_picture(prediction: Prediction, tokenizer: ImageTokenizer) -> Prediction:
    """Return the prediction with its picture."""
    if prediction.image_codes is None:
        raise InputError(f"a prediction of task {prediction.task} holds no image codes to show.")
    return replace(prediction, image=tokenizer.decode([prediction.image_codes])[0])


def judge_pictures(
    predictions: Sequence[Prediction], classify: Callable[[Sequence[Image]], Sequence[str]]
) -> list[Prediction]:
    """Return the predictions with what a separate classifier sees in their pictures as their text.

    Raises: InputError if one has no picture yet.
    """
    images = [prediction.image for prediction in predictions if prediction.image is not None]
    if len(images) < len(predictions):
        raise InputError("a prediction without a picture cannot be judged; call show_picture first.")
    seen = classify(images)
    return [replace(prediction, text=label) for prediction, label in zip(predictions, seen, strict=True)]


def _hash(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8], "little")
