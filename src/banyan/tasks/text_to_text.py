"""What translation and summarization share: a text goes in, another text comes out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from banyan.core.config import config
from banyan.core.errors import ConfigError, DataError
from banyan.core.types import Completion, MaskKind, Prediction, Prompt, Text
from banyan.tasks.base import Supervision, Task, completed_text
from banyan.tasks.fitting import answer_room, end_answer, fit_source
from banyan.tasks.preprocessing import ALL_STEPS
from banyan.tokenizers.vocabulary import Vocabulary

E = TypeVar("E")


@config
class TextToText(Task[E]):
    """Writes a text about a source that is read in both directions."""

    usual_mask: ClassVar[MaskKind] = MaskKind.PREFIX
    preprocessing: ClassVar[frozenset[str]] = ALL_STEPS

    max_answer_tokens: int = 64  # longer answers are cut in training and in decoding

    def __post_init__(self) -> None:
        if self.max_answer_tokens < 1:
            raise ConfigError(f"task {self.name}: max_answer_tokens={self.max_answer_tokens} must be at least 1.")

    @abstractmethod
    def preface(self, example: E) -> str:
        """Return the ordinary text in front of the source, which is never cut."""

    @abstractmethod
    def references(self, example: E) -> Sequence[str]:
        """Return every right answer; the first one is learned."""

    def prompt(self, example: E, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|><|task|> preface source <|sep|>`, or what an imported model has there."""
        text = self.source(example)
        instruction, preface = self.instruction_for(text), self.preface(example)
        head = vocabulary.open_task(self.name, instruction=instruction, preface=preface)
        tail = vocabulary.ask_answer()
        room = answer_room(self.max_answer_tokens, max_tokens=max_tokens)
        source, num_dropped = fit_source(
            vocabulary.encode_inside(self.cleaned(text)),
            task=self.name,
            max_tokens=max_tokens,
            reserved_tokens=len(head) + len(tail) + room,
            max_source_tokens=self.max_source_tokens,
            truncate=self.truncate,
        )
        token_ids = (*head, *source, *tail)
        return Prompt(
            task=self.name,
            token_ids=token_ids,
            mask=self.reading,
            decoding=Text(
                max_tokens=min(self.max_answer_tokens, max_tokens - len(token_ids)),
                stop_token_ids=vocabulary.answer_stop_ids,
                drops_first_space=vocabulary.drops_first_space,
            ),
            num_dropped_tokens=num_dropped,
        )

    def supervise(self, example: E, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int) -> Supervision:
        """Expect the first reference and the end token."""
        references = self.references(example)
        if not references:
            raise DataError(f"task {self.name} cannot learn from an example without an answer.")
        room = answer_room(self.max_answer_tokens, max_tokens=max_tokens)
        return Supervision(
            answer_ids=end_answer(vocabulary.encode_answer(references[0]), vocabulary.end_answer_id, room=room)
        )

    def read(self, prompt: Prompt, completion: Completion, vocabulary: Vocabulary) -> Prediction:
        """Return the written text."""
        return Prediction(
            task=self.name,
            text=completed_text(completion, vocabulary).strip(),
            finish_reason=completion.finish_reason,
            num_prompt_tokens=len(prompt),
            num_completion_tokens=len(completion.token_ids),
            num_dropped_tokens=prompt.num_dropped_tokens,
        )

    def reference(self, example: E) -> str:
        """Return the first right answer."""
        return next(iter(self.references(example)), "")
