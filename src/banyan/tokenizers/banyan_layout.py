"""Banyan's own ids beside text: special tokens with a name, and a token for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.core.registry import did_you_mean
from banyan.tokenizers.chat_formats import BANYAN
from banyan.tokenizers.layout import ChatLayout, SpecialIds
from banyan.tokenizers.text import TextTokenizer

MAX_TASKS = 32
SPECIAL_TOKENS: tuple[str, ...] = (
    "<|pad|>",
    "<|bos|>",
    "<|eos|>",
    "<|sep|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|tool|>",
    "<|end|>",
    "<|image|>",
    "<|/image|>",
    "<|null|>",
    *(f"<|task_{index}|>" for index in range(MAX_TASKS)),
)


class BanyanLayout(ChatLayout):
    """Lays out tasks as `<|bos|><|task|> source <|sep|> answer <|eos|>`; the instruction is not needed."""

    def __init__(
        self, text: TextTokenizer, task_names: Sequence[str], *, control_ids: Mapping[str, int] | None = None
    ) -> None:
        """Take the ids of special tokens where a grown vocabulary has them; None: they follow the text.

        Raises: ConfigError for more tasks than there are tokens for.
        """
        if len(task_names) > MAX_TASKS:
            raise ConfigError(f"{len(task_names)} tasks are too many for one model; at most {MAX_TASKS}.")
        ids = control_ids or {name: text.vocab_size + index for index, name in enumerate(SPECIAL_TOKENS)}
        self._sep_id = ids["<|sep|>"]
        self._task_ids = {name: ids[f"<|task_{index}|>"] for index, name in enumerate(task_names)}
        special = SpecialIds(
            control_ids=ids,
            bos_id=ids["<|bos|>"],
            eos_ids=(ids["<|eos|>"], ids["<|end|>"]),
            pad_id=ids["<|pad|>"],
            start_ids=(ids["<|bos|>"],),
        )
        super().__init__(BANYAN, text, special)

    @property
    def end_answer_id(self) -> int:
        """What an answer to a task ends with."""
        return self.special.eos_ids[0]

    @property
    def end_reply_id(self) -> int:
        """What the assistant's message ends with."""
        return self.special.eos_ids[1]

    def task_id(self, name: str) -> int:
        """Return the id of a task's own token.

        Raises: UnknownNameError if the model has no such task.
        """
        if name not in self._task_ids:
            raise UnknownNameError(f"no task {name!r}{did_you_mean(name, self._task_ids)}")
        return self._task_ids[name]

    def open_task(self, name: str, instruction: str, preface: str) -> tuple[int, ...]:
        """Return the first token, the task's own, and the preface."""
        return (self.special.bos_id, self.task_id(name), *self._text.encode(preface))

    def separate(self) -> tuple[int, ...]:
        """Return what stands between two parts of a source."""
        return (self._sep_id,)

    def ask_answer(self) -> tuple[int, ...]:
        """Return what stands between a task's source and its answer."""
        return (self._sep_id,)
