"""Language modelling: the next token of any text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from banyan.core.config import config
from banyan.core.errors import ConfigError, InputError
from banyan.core.types import Completion, MaskKind, Prediction, Prompt, Row, Text
from banyan.data.masking import MaskShares
from banyan.tasks.base import Supervision, Task, completed_text
from banyan.tasks.fitting import fit_source
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.rows import rename_columns, source_text
from banyan.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class TextExample:
    """A document, or the beginning of one."""

    text: str


@config
class LanguageModeling(Task[TextExample]):
    """Goes on with a text. There is no task token and no separator: the prompt is the text itself."""

    kind: ClassVar[str] = "language_modeling"
    main_metric: ClassVar[str] = "bits_per_byte"
    usual_mask: ClassVar[MaskKind] = MaskKind.CAUSAL
    may_choose_mask: ClassVar[bool] = False

    template: str | None = None  # "{title}\n{text}": the document, made of several columns
    max_answer_tokens: int = 256
    masks: MaskShares | None = None  # how running text is read while it is learned; None: causally, as it is asked

    def __post_init__(self) -> None:
        if self.max_answer_tokens < 1:
            raise ConfigError(f"task {self.name}: max_answer_tokens={self.max_answer_tokens} must be at least 1.")

    @property
    def lower_is_better(self) -> bool:
        """Fewer bits are better."""
        return True

    def parse(self, row: Row, *, with_answer: bool = True) -> TextExample:
        """Read {"text"}."""
        return TextExample(text=source_text(rename_columns(row, self.columns), template=self.template))

    def example_from_text(self, text: str) -> TextExample:
        """Go on with a text.

        Raises: InputError if there is none.
        """
        if not text:
            raise InputError(f"task {self.name} needs a beginning to go on with.")
        return TextExample(text=text)

    def prompt(self, example: TextExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|> text`, or what an imported model has there; at least one token stays free."""
        start = vocabulary.start_ids if example.text else vocabulary.start_ids or (vocabulary.bos_id,)
        source, num_dropped = fit_source(
            vocabulary.encode(example.text),
            task=self.name,
            max_tokens=max_tokens,
            reserved_tokens=len(start) + 1,
            max_source_tokens=self.max_source_tokens,
            truncate=self.truncate,
        )
        return Prompt(
            task=self.name,
            token_ids=(*start, *source),
            mask=self.reading,
            decoding=Text(
                max_tokens=min(self.max_answer_tokens, max_tokens - len(start) - len(source)),
                stop_token_ids=vocabulary.text_stop_ids,
                drops_first_space=not source and vocabulary.text.starts_with_space,
            ),
            num_dropped_tokens=num_dropped,
        )

    def supervise(
        self, example: TextExample, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int
    ) -> Supervision:
        """Expect every token of the text, and its end where nothing was cut off."""
        following = dict(enumerate(prompt.token_ids[1:]))
        return Supervision(
            answer_ids=() if prompt.num_dropped_tokens else (vocabulary.eos_id,), prompt_targets=following
        )

    def read(self, prompt: Prompt, completion: Completion, vocabulary: Vocabulary) -> Prediction:
        """Return how the text goes on."""
        return Prediction(
            task=self.name,
            text=completed_text(completion, vocabulary),
            finish_reason=completion.finish_reason,
            num_prompt_tokens=len(prompt),
            num_completion_tokens=len(completion.token_ids),
            num_dropped_tokens=prompt.num_dropped_tokens,
        )

    def reference(self, example: TextExample) -> str:
        """Return nothing: any text may go on in many ways."""
        return ""

    def source(self, example: TextExample) -> str:
        """Return the text."""
        return example.text

    def measure(self, examples: Sequence[TextExample], predictions: Sequence[Prediction]) -> Measurement:
        """Refuse: how good a continuation is cannot be counted; `evaluate_bits` scores the texts themselves."""
        raise ConfigError(f"task {self.name} is scored by the bits its texts cost, not by predictions.")
