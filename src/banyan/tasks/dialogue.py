"""Dialogue: the assistant's next message in a conversation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from banyan.core.config import config
from banyan.core.errors import ConfigError, ContextLengthError, DataError, InputError
from banyan.core.types import Completion, MaskKind, Prediction, Prompt, Row, Text
from banyan.tasks.base import Supervision, Task, completed_text
from banyan.tasks.conversations import ASSISTANT, Message, read_messages, split_off_answer, without_answer
from banyan.tasks.fitting import answer_room, end_answer
from banyan.tasks.metrics.answers import measure_answers
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.rows import rename_columns
from banyan.tokenizers.vocabulary import Vocabulary

_SHORTEST_TURN = 3  # its role, one token of text, its end


@dataclass(frozen=True, kw_only=True, slots=True)
class DialogueExample:
    """What was said so far, and what the assistant says next; None where it is asked for."""

    history: tuple[Message, ...]
    answer: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Turn:
    """One message as ids: its role, its text, the end token."""

    is_system: bool
    is_assistant: bool
    token_ids: tuple[int, ...]


@config
class Dialogue(Task[DialogueExample]):
    """Answers as the assistant, in the chat format; every message of the assistant is learned."""

    kind: ClassVar[str] = "dialogue"
    main_metric: ClassVar[str] = "token_f1"
    mask: ClassVar[MaskKind] = MaskKind.CAUSAL

    max_answer_tokens: int = 256
    system: str | None = None  # said at the start of every conversation that has no system message

    def __post_init__(self) -> None:
        if self.max_answer_tokens < 1:
            raise ConfigError(f"task {self.name}: max_answer_tokens={self.max_answer_tokens} must be at least 1.")

    def parse(self, row: Row, *, with_answer: bool = True) -> DialogueExample:
        """Read {"messages"}, ShareGPT's {"conversations"}, alpaca's {"instruction", "input", "output"}.

        The last message of the assistant is the answer; without it the row asks for that message.
        """
        row = rename_columns(row, self.columns)
        messages = read_messages({"system": self.system, **row} if self.system else row)
        if not with_answer:
            return DialogueExample(history=without_answer(messages))
        history, answer = split_off_answer(messages)
        return DialogueExample(history=history, answer=answer)

    def turns(self, example: DialogueExample) -> tuple[DialogueExample, ...]:
        """Return one example for each message of the assistant, so that each can be asked for and scored."""
        said = (*example.history, Message(role=ASSISTANT, content=example.answer or ""))
        answered = (n for n, message in enumerate(said) if n and message.role == ASSISTANT and message.content)
        return tuple(DialogueExample(history=said[:n], answer=said[n].content) for n in answered)

    def example_from_text(self, text: str) -> DialogueExample:
        """Ask as the user; a JSON object with messages is a conversation that goes on."""
        if not text.strip():
            raise InputError(f"task {self.name} cannot answer a blank message.")
        row: Row = {"messages": [{"role": "user", "content": text}]}
        if text.lstrip().startswith('{"'):
            try:
                row = json.loads(text)
                return self.parse(row, with_answer=False)
            except (json.JSONDecodeError, DataError):
                row = {"messages": [{"role": "user", "content": text}]}  # a person may ask about a piece of JSON
        return self.parse(row, with_answer=False)

    def prompt(self, example: DialogueExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|>`, `<|role|> text <|end|>` for every message, and `<|assistant|>`.

        Where the conversation is too long its oldest turns are left out whole, but never the system message; where
        even that is not enough, the longer of the system message and the last one is cut at its end.
        """
        room = max_tokens - 2 - answer_room(self.max_answer_tokens, max_tokens=max_tokens)
        if self.max_source_tokens is not None:
            room = min(room, self.max_source_tokens)
        turns = [_encode(message, vocabulary) for message in example.history]
        kept = self._fit(turns, room=room, end_id=vocabulary.end_id, max_tokens=max_tokens)
        source = [token_id for turn in kept for token_id in turn.token_ids]
        token_ids = (vocabulary.bos_id, *source, vocabulary.role_id(ASSISTANT))
        return Prompt(
            task=self.name,
            token_ids=token_ids,
            mask=self.mask,
            decoding=Text(
                max_tokens=min(self.max_answer_tokens, max_tokens - len(token_ids)),
                stop_token_ids=(vocabulary.end_id,),
            ),
            notes=tuple(kept),
            num_dropped_tokens=sum(len(turn.token_ids) for turn in turns) - len(source),
        )

    def _fit(self, turns: Sequence[_Turn], *, room: int, end_id: int, max_tokens: int) -> list[_Turn]:
        num_tokens = sum(len(turn.token_ids) for turn in turns)
        if num_tokens > room and not self.truncate:
            raise _too_long(self.name, num_tokens, room=room, max_tokens=max_tokens)
        kept = list(turns)
        while sum(len(turn.token_ids) for turn in kept) > room and _drop_oldest(kept):
            pass
        if not _shorten(kept, excess=sum(len(turn.token_ids) for turn in kept) - room, end_id=end_id):
            raise _too_long(self.name, num_tokens, room=room, max_tokens=max_tokens)
        return kept

    def supervise(
        self, example: DialogueExample, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int
    ) -> Supervision:
        """Expect the answer, and every earlier message of the assistant that is in the prompt."""
        if example.answer is None:
            raise DataError(f"task {self.name} cannot learn from a conversation without an answer.")
        targets: dict[int, int] = {}
        at = 1
        for turn in prompt.notes:
            if turn.is_assistant:
                targets.update((at + n, token_id) for n, token_id in enumerate(turn.token_ids[1:]))
            at += len(turn.token_ids)
        room = answer_room(self.max_answer_tokens, max_tokens=max_tokens)
        answer = end_answer(vocabulary.encode(example.answer), vocabulary.end_id, room=room)
        return Supervision(answer_ids=answer, prompt_targets=targets)

    def read(self, prompt: Prompt, completion: Completion, vocabulary: Vocabulary) -> Prediction:
        """Return the assistant's message."""
        return Prediction(
            task=self.name,
            text=completed_text(completion, vocabulary),
            finish_reason=completion.finish_reason,
            num_prompt_tokens=len(prompt),
            num_completion_tokens=len(completion.token_ids),
            num_dropped_tokens=prompt.num_dropped_tokens,
        )

    def reference(self, example: DialogueExample) -> str:
        """Return the right answer."""
        return example.answer or ""

    def source(self, example: DialogueExample) -> str:
        """Return the conversation so far."""
        return "\n".join(f"{message.role}: {message.content}" for message in example.history)

    def measure(self, examples: Sequence[DialogueExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count the F1 of the answer's words."""
        references = [[self.reference(example)] for example in examples]
        measured = measure_answers(references, [prediction.text for prediction in predictions])
        return measured.renamed({"f1": "token_f1", "exact_match": "exact_match"})


def _encode(message: Message, vocabulary: Vocabulary) -> _Turn:
    token_ids = (vocabulary.role_id(message.role), *vocabulary.encode(message.content), vocabulary.end_id)
    return _Turn(is_system=message.role == "system", is_assistant=message.role == ASSISTANT, token_ids=token_ids)


def _drop_oldest(turns: list[_Turn]) -> bool:
    """Take the oldest message and what was answered to it out of the list; False if only the last is left."""
    first = 1 if turns[0].is_system else 0
    if len(turns) - first <= 1:
        return False
    del turns[first]
    while len(turns) - first > 1 and turns[first].is_assistant:
        del turns[first]
    return True


def _shorten(turns: list[_Turn], *, excess: int, end_id: int) -> bool:
    """Cut the ends of the last message and of the system message, the longer one first; False if that is not enough."""
    for number in sorted({0, len(turns) - 1}, key=lambda number: -len(turns[number].token_ids)):
        turn = turns[number]
        num_cut = min(excess, len(turn.token_ids) - _SHORTEST_TURN)
        if num_cut > 0:
            turns[number] = replace(turn, token_ids=(*turn.token_ids[: -num_cut - 1], end_id))
            excess -= num_cut
    return excess <= 0


def _too_long(task: str, num_tokens: int, *, room: int, max_tokens: int) -> ContextLengthError:
    return ContextLengthError(
        f"task {task}: the conversation has {num_tokens} tokens and at most {max(room, 0)} fit.",
        num_prompt_tokens=num_tokens,
        max_seq_len=max_tokens,
        hint="start a new conversation, or shorten the last message or the system message",
    )
