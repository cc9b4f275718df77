"""Dialogue: the assistant's next message in a conversation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from banyan.core.config import config
from banyan.core.errors import ConfigError, ContextLengthError, DataError, InputError
from banyan.core.types import Completion, MaskKind, Prediction, Prompt, Row, Text
from banyan.tasks.augmentation.config import NOISE
from banyan.tasks.augmentation.passage import Passage, WordSplitter, split_passage
from banyan.tasks.base import Asked, Supervision, Task, completed_text
from banyan.tasks.conversations import ASSISTANT, Message, read_messages, split_off_answer, without_answer
from banyan.tasks.fitting import answer_room, end_answer
from banyan.tasks.metrics.answers import measure_answers
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.picture_talk import cells_of, lay_out, see_messages
from banyan.tasks.rows import read_each, rename_columns, row_from_json
from banyan.tokenizers.images import ImageTokenizer
from banyan.tokenizers.layout import Conversation, Turn
from banyan.tokenizers.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True, slots=True)
class DialogueExample:
    """What was said so far, and what the assistant says next; None where it is asked for."""

    history: tuple[Message, ...]
    answer: str | None = None


@config
class Dialogue(Task[DialogueExample]):
    """Answers as the assistant, in the chat format; every message of the assistant is learned."""

    kind: ClassVar[str] = "dialogue"
    main_metric: ClassVar[str] = "token_f1"
    other_metrics: ClassVar[tuple[str, ...]] = ("exact_match",)
    usual_mask: ClassVar[MaskKind] = MaskKind.CAUSAL
    may_choose_mask: ClassVar[bool] = False
    augmentations: ClassVar[frozenset[str]] = frozenset({*NOISE, "synonyms"})

    max_answer_tokens: int = 256
    system: str | None = None  # said at the start of every conversation that has no system message
    sees_pictures: bool = False  # the user's messages may hold pictures

    def __post_init__(self) -> None:
        if self.max_answer_tokens < 1:
            raise ConfigError(f"task {self.name}: max_answer_tokens={self.max_answer_tokens} must be at least 1.")

    @classmethod
    def fields_from_rows(cls, rows: Sequence[Row], *, columns: Mapping[str, str]) -> dict[str, Any]:
        """Return whether any message of the user holds a picture."""
        talks = read_each(rows, lambda row: read_messages(rename_columns(row, columns)))
        return {"sees_pictures": any(message.images for talk in talks for message in talk)}

    def see(self, examples: Sequence[DialogueExample], tokenizer: ImageTokenizer) -> list[DialogueExample]:
        """Return the conversations with the codes of their pictures."""
        if not self.sees_pictures:
            return list(examples)
        histories = see_messages([example.history for example in examples], tokenizer)
        return [replace(example, history=history) for example, history in zip(examples, histories, strict=True)]

    def parse(self, row: Row, *, with_answer: bool = True) -> DialogueExample:
        """Read {"messages"}, ShareGPT's {"conversations"}, alpaca's {"instruction", "input", "output"}.

        The last message of the assistant is the answer; without it the row asks for that message.
        """
        row = rename_columns(row, self.columns)
        messages = read_messages({"system": self.system, **row} if self.system else row)
        if not self.sees_pictures and any(message.images for message in messages):
            raise DataError(
                f"task {self.name} was not taught to look at pictures.", hint="leave the picture out of the message"
            )
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
        return self.asked_from_text(text).example

    def asked_from_text(self, text: str) -> Asked[DialogueExample]:
        """Read the conversation, or what the user says first."""
        if not text.strip():
            raise InputError(f"task {self.name} cannot answer a blank message.")
        if text.lstrip().startswith('{"'):
            with suppress(DataError):  # a person may ask about a piece of JSON
                return self.asked_from_row(dict(row_from_json(text)))
        return self.asked_from_row({"messages": [{"role": "user", "content": text}]})

    def prompt(self, example: DialogueExample, vocabulary: Vocabulary, *, max_tokens: int) -> Prompt:
        """Build `<|bos|>`, `<|role|> text <|end|>` for every message, and `<|assistant|>`, or the model's own format.

        Where the conversation is too long its oldest turns are left out whole, but never the system message; where
        even that is not enough, the longer of the system message and the last one is cut at its end.
        """
        whole = lay_out(example.history, vocabulary)
        room = (
            max_tokens - len(whole.begin) - len(whole.ask) - answer_room(self.max_answer_tokens, max_tokens=max_tokens)
        )
        if self.max_source_tokens is not None:
            room = min(room, self.max_source_tokens)
        kept = whole
        if whole.num_turn_tokens > room:
            kept = self._fit(example.history, vocabulary, num_tokens=whole.num_turn_tokens, room=room, limit=max_tokens)
        token_ids = kept.token_ids
        return Prompt(
            task=self.name,
            token_ids=token_ids,
            mask=self.reading,
            decoding=Text(
                max_tokens=min(self.max_answer_tokens, max_tokens - len(token_ids)),
                stop_token_ids=vocabulary.reply_stop_ids,
                drops_first_space=vocabulary.drops_first_space,
            ),
            grid_ids=cells_of(token_ids, vocabulary) if self.sees_pictures else (),
            notes=kept,
            num_dropped_tokens=whole.num_turn_tokens - kept.num_turn_tokens,
        )

    def _fit(
        self, history: Sequence[Message], vocabulary: Vocabulary, *, num_tokens: int, room: int, limit: int
    ) -> Conversation:
        if not self.truncate:
            raise _too_long(self.name, num_tokens, room=room, max_tokens=limit)

        def laid_out(kept: Sequence[Message]) -> Conversation:
            return lay_out(kept, vocabulary)

        shorter = _without_oldest(history)
        first = bisect_left(shorter, -room, key=lambda kept: -laid_out(kept).num_turn_tokens)
        talk = laid_out(shorter[min(first, len(shorter) - 1)])
        turns = list(talk.turns)
        if not _shorten(turns, excess=talk.num_turn_tokens - room):
            raise _too_long(self.name, num_tokens, room=room, max_tokens=limit)
        return replace(talk, turns=tuple(turns))

    def supervise(
        self, example: DialogueExample, prompt: Prompt, vocabulary: Vocabulary, *, max_tokens: int
    ) -> Supervision:
        """Expect the answer, and every earlier message of the assistant that is in the prompt."""
        if example.answer is None:
            raise DataError(f"task {self.name} cannot learn from a conversation without an answer.")
        talk: Conversation = prompt.notes
        targets: dict[int, int] = {}
        at = len(talk.begin)
        for turn in talk.turns:
            if turn.role == ASSISTANT:
                first = at + len(turn.opening) - 1  # the position that predicts the first token of what is said
                said = (*turn.content, vocabulary.end_reply_id)
                targets.update((first + n, token_id) for n, token_id in enumerate(said))
            at += len(turn)
        room = answer_room(self.max_answer_tokens, max_tokens=max_tokens)
        answer = end_answer(vocabulary.encode_answer(example.answer), vocabulary.end_reply_id, room=room)
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

    def passages(self, example: DialogueExample, *, split: WordSplitter) -> tuple[Passage, ...]:
        """Return what the user says; what the assistant says is learned, so it is never touched."""
        said = [message.content for message in example.history if message.role == "user"]
        return tuple(split_passage(text, units=split(text)) for text in said)

    def with_passages(self, example: DialogueExample, passages: Sequence[Passage]) -> DialogueExample:
        """Return the conversation with other words of the user."""
        worded = iter(passages)
        history = tuple(
            replace(message, content=next(worded).text) if message.role == "user" else message
            for message in example.history
        )
        return replace(example, history=history)

    def reference(self, example: DialogueExample) -> str:
        """Return the right answer."""
        return example.answer or ""

    def source(self, example: DialogueExample) -> str:
        """Return the conversation so far."""
        return "\n".join(f"{one.role}: {'(a picture) ' * len(one.images)}{one.content}" for one in example.history)

    def measure(self, examples: Sequence[DialogueExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count the F1 of the answer's words."""
        references = [[self.reference(example)] for example in examples]
        measured = measure_answers(references, [prediction.text for prediction in predictions])
        return measured.renamed({"f1": "token_f1", "exact_match": "exact_match"})


def _without_oldest(history: Sequence[Message]) -> list[Sequence[Message]]:
    """Return the conversation without its oldest message and what was answered to it, without the two oldest, …

    The system message stays in all of them, and so does the last message.
    """
    system = history[:1] if history[0].role == "system" else ()
    last = len(history) - 1
    starts = [n for n in range(len(system) + 1, last + 1) if n == last or history[n].role != ASSISTANT]
    return [(*system, *history[start:]) for start in (len(system), *starts) if start <= last] or [history]


def _shorten(turns: list[Turn], *, excess: int) -> bool:
    """Cut the ends of the last message and of the system message, the longer one first; False if that is not enough."""
    for number in sorted({0, len(turns) - 1}, key=lambda number: -len(turns[number])):
        turn = turns[number]
        num_cut = min(excess, len(turn.content) - 1)  # one token of it is left
        if num_cut > 0:
            turns[number] = replace(turn, content=turn.content[:-num_cut])
            excess -= num_cut
    return excess <= 0


def _too_long(task: str, num_tokens: int, *, room: int, max_tokens: int) -> ContextLengthError:
    return ContextLengthError(
        f"task {task}: the conversation has {num_tokens} tokens and at most {max(room, 0)} fit.",
        num_prompt_tokens=num_tokens,
        max_seq_len=max_tokens,
        hint="start a new conversation, or shorten the last message or the system message",
    )
