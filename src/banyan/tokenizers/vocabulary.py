"""The one id space of a model: text | special | image.

In a model of our own, ordinary text tokens come first, then the special tokens, then unused rows up to a multiple of 64
(matrix sizes that hardware likes). A foreign model has its special tokens and unused rows wherever its tokenizer put
them. In both the image codes come last, and special tokens enter a sequence only as ids put there by code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from banyan.core.errors import CheckpointError, ConfigError, InputError
from banyan.core.files import atomic_write_bytes
from banyan.tokenizers.banyan_files import banyan_files
from banyan.tokenizers.banyan_layout import SPECIAL_TOKENS, BanyanLayout
from banyan.tokenizers.chat_formats import BANYAN, ROLES, ChatFormat
from banyan.tokenizers.foreign import ForeignTokenizer
from banyan.tokenizers.layout import ChatLayout, Conversation, Said, SpecialIds
from banyan.tokenizers.text import Offsets, TextTokenizer

_ROW_MULTIPLE = 64
_IMAGE_TOKENS = ("<|image|>", "<|/image|>", "<|null|>")


class Vocabulary:
    """Names every id a model can read or write, and turns text into ids and back."""

    sep_id: int  # this and the ids that follow: only where the vocabulary has such a token
    system_id: int
    user_id: int
    assistant_id: int
    tool_id: int
    end_id: int
    image_id: int
    end_image_id: int
    null_id: int

    def __init__(
        self,
        text: TextTokenizer,
        *,
        task_names: Sequence[str] = (),
        num_image_codes: int = 0,
        foreign: ForeignTokenizer | None = None,
        chat: ChatFormat = BANYAN,
        text_size: int | None = None,
    ) -> None:
        """Name the ids of a tokenizer of our own, or (with `foreign`) of one that came with foreign weights.

        A foreign one is laid out in the `chat` format and has `text_size` rows; None: as many as it has tokens.
        """
        if len(set(task_names)) < len(task_names):
            raise ConfigError(f"task names must differ, got {', '.join(task_names)}.")
        self.text = text
        self.task_names = tuple(task_names)
        self.num_image_codes = num_image_codes
        self.foreign = foreign
        if foreign is None:
            self.layout: ChatLayout = BanyanLayout(text, task_names)
            rows = text.vocab_size + len(SPECIAL_TOKENS)
            self.text_size = -(-rows // _ROW_MULTIPLE) * _ROW_MULTIPLE  # text, special and unused rows
        else:
            self.layout = _foreign_layout(foreign, chat, task_names)
            self.text_size = foreign.vocab_size if text_size is None else text_size
            _check_rows(foreign, self.text_size)
        special = self.layout.special
        self.pad_id, self.bos_id, self.eos_id = special.pad_id, special.bos_id, special.eos_ids[0]
        self._name_ids(special.control_ids)

    def _name_ids(self, ids: Mapping[str, int]) -> None:
        self._names = {token_id: name for name, token_id in ids.items()}
        names = {f"<|{name}|>": f"{name}_id" for name in ("sep", *ROLES, "end", "image", "null")}
        names["<|/image|>"] = "end_image_id"
        vars(self).update({attribute: ids[token] for token, attribute in names.items() if token in ids})

    @property
    def chat(self) -> ChatFormat:
        """How conversations are laid out."""
        return self.layout.chat

    @property
    def start_ids(self) -> tuple[int, ...]:
        """What is put before any text; nothing in families that begin with the text itself."""
        return self.layout.special.start_ids

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Every id that ends a text or an answer; `eos_id` is the first."""
        return self.layout.special.eos_ids

    @property
    def text_stop_ids(self) -> tuple[int, ...]:
        """Ids at which a text that goes on has ended."""
        return (self.eos_id,) if isinstance(self.layout, BanyanLayout) else self.eos_ids

    @property
    def answer_stop_ids(self) -> tuple[int, ...]:
        """Ids at which the answer to a task has ended; the first is the one that is learned."""
        return self._stop_ids(self.layout.end_answer_id)

    @property
    def reply_stop_ids(self) -> tuple[int, ...]:
        """Ids at which the assistant's message has ended; the first is the one that is learned."""
        return self._stop_ids(self.layout.end_reply_id)

    def _stop_ids(self, own: int) -> tuple[int, ...]:
        return (own,) if isinstance(self.layout, BanyanLayout) else tuple(dict.fromkeys((own, *self.eos_ids)))

    @property
    def drops_first_space(self) -> bool:
        """Whether an answer's first word comes with a space that does not belong to it."""
        return self.layout.drops_first_space

    @property
    def end_answer_id(self) -> int:
        """What an answer to a task ends with."""
        return self.layout.end_answer_id

    @property
    def end_reply_id(self) -> int:
        """What the assistant's message ends with."""
        return self.layout.end_reply_id

    def open_task(self, name: str, *, instruction: str = "", preface: str = "") -> tuple[int, ...]:
        """Return the ids before a task's source: its own token, or in a foreign model the instruction; the preface."""
        return self.layout.open_task(name, instruction, preface)

    def separate(self) -> tuple[int, ...]:
        """Return the ids between two parts of a source."""
        return self.layout.separate()

    def ask_answer(self) -> tuple[int, ...]:
        """Return the ids between a task's source and its answer."""
        return self.layout.ask_answer()

    def ask_picture(self) -> tuple[int, ...]:
        """Return the ids between a wish and the codes of its picture.

        Raises: ConfigError if the vocabulary has no tokens for pictures.
        """
        self._check_pictures("draw")
        return (*self.ask_answer(), self.image_id)

    def show_picture(self, codes: Sequence[int]) -> tuple[int, ...]:
        """Return the ids of a picture in a question.

        Raises: ConfigError if the vocabulary has no tokens for pictures; InputError for a code it does not have.
        """
        self._check_pictures("see")
        return (self.image_id, *map(self.image_token, codes), self.end_image_id)

    def _check_pictures(self, what: str) -> None:
        missing = [token for token in _IMAGE_TOKENS if token not in self.layout.special.control_ids]
        if missing or not self.num_image_codes:
            raise ConfigError(
                f"the model cannot {what}: its vocabulary has no tokens for pictures.",
                hint="take a model of Banyan's own, or grow the vocabulary by image codes",
            )

    def encode_answer(self, text: str) -> tuple[int, ...]:
        """Return the ids of an answer as the model says it, without its end."""
        return self.layout.encode_answer(text)

    def conversation(self, messages: Sequence[Said]) -> Conversation:
        """Lay out what was said so far as ids, and ask the assistant to go on.

        Raises: InputError for a role the chat format does not have.
        """
        return self.layout.conversation(messages)

    @property
    def size(self) -> int:
        """Number of ids in all."""
        return self.text_size + self.num_image_codes

    @property
    def first_image_id(self) -> int:
        """Id of image code 0."""
        return self.text_size

    def task_id(self, name: str) -> int:
        """Return the id of a task's own token.

        Raises: UnknownNameError if the model has no such task; ConfigError if it has no task tokens at all.
        """
        if not isinstance(self.layout, BanyanLayout):
            raise ConfigError(f"a model with the chat format {self.chat.name} has no task tokens.")
        return self.layout.task_id(name)

    def role_id(self, role: str) -> int:
        """Return the id that opens a message of a role, in Banyan's own chat format.

        Raises: InputError for a role the chat format does not have.
        """
        if role not in ROLES:
            raise InputError(f"role {role!r} is not part of the chat format; known: {', '.join(ROLES)}.")
        return self.layout.special.control_ids[f"<|{role}|>"]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; nothing in the text can become a special token."""
        return self.text.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts, in parallel."""
        return self.text.encode_batch(texts)

    def encode_with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        """Return the ids of a text and the range of characters each belongs to (end exclusive)."""
        return self.text.encode_with_offsets(text)

    def encode_inside(self, text: str) -> list[int]:
        """Return the ids of a text that stands behind other text, where its first word gets no space of its own."""
        return self.text.encode_inside(text)[0]

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Return the bytes of the text tokens; special tokens, unused rows and image codes are dropped."""
        return self.text.decode_bytes(token_id for token_id in token_ids if self.is_text(token_id))

    def decode(self, token_ids: Iterable[int]) -> str:
        """Return the text of the text tokens, as `encode` took it; bytes that are not UTF-8 become U+FFFD."""
        text = self.decode_bytes(token_ids).decode("utf-8", errors="replace")
        return text.removeprefix(" ") if self.text.starts_with_space else text

    def is_text(self, token_id: int) -> bool:
        """Is this an ordinary token?"""
        return self.text.is_text(token_id)

    def is_special(self, token_id: int) -> bool:
        """Is this a special token or an unused row?"""
        return 0 <= token_id < self.text_size and not self.is_text(token_id)

    def is_image(self, token_id: int) -> bool:
        """Is this an image code?"""
        return self.text_size <= token_id < self.size

    def image_token(self, code: int) -> int:
        """Return the id of an image code."""
        if not 0 <= code < self.num_image_codes:
            raise InputError(f"image code {code} is outside the codebook of {self.num_image_codes} codes.")
        return self.first_image_id + code

    def image_code(self, token_id: int) -> int:
        """Return the image code an id stands for."""
        if not self.is_image(token_id):
            raise InputError(f"token {token_id} ({self.describe(token_id)}) is not an image code.")
        return token_id - self.first_image_id

    def num_bytes(self, token_id: int) -> int:
        """Return how many bytes of text an id stands for; 0 for all but ordinary tokens."""
        return len(self.text.token_bytes(token_id)) if self.is_text(token_id) else 0

    def describe(self, token_id: int) -> str:
        """Return what an id means, for people.

        Raises: InputError for an id outside the vocabulary.
        """
        if not 0 <= token_id < self.size:
            raise InputError(f"token id {token_id} is outside the vocabulary of {self.size} ids.")
        if self.is_text(token_id):
            return _describe_bytes(self.text.token_bytes(token_id))
        if self.is_image(token_id):
            return f"image code {token_id - self.first_image_id}"
        if token_id not in self._names:
            return f"unused row {token_id}"
        task = self._task_of(token_id)
        return self._names[token_id] if task is None else f"{self._names[token_id]} {task}"

    def _task_of(self, token_id: int) -> str | None:
        if not isinstance(self.layout, BanyanLayout):
            return None
        return next((name for name in self.task_names if self.task_id(name) == token_id), None)

    def save(self, directory: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as Hugging Face tools read them."""
        own = self.layout.special.control_ids
        files = banyan_files(self.text, own) if self.foreign is None else self.foreign.to_files(chat=self.chat)
        for name, content in files.items():
            atomic_write_bytes(directory / name, content)


def _foreign_layout(foreign: ForeignTokenizer, chat: ChatFormat, task_names: Sequence[str]) -> ChatLayout:
    if chat is BANYAN:  # a grown vocabulary: special tokens lie between old and new text
        if missing := [name for name in SPECIAL_TOKENS if name not in foreign.control_ids]:
            raise CheckpointError(f"the chat format banyan needs the special token {missing[0]}; there is none.")
        return BanyanLayout(foreign.text, task_names, control_ids=foreign.control_ids)
    special = SpecialIds(
        control_ids=foreign.control_ids,
        bos_id=foreign.bos_id,
        eos_ids=foreign.eos_ids,
        pad_id=foreign.pad_id,
        start_ids=(foreign.bos_id,) if foreign.starts_with_bos else (),
    )
    return ChatLayout(chat, foreign.text, special)


def _check_rows(foreign: ForeignTokenizer, text_size: int) -> None:
    if foreign.vocab_size > text_size:
        raise CheckpointError(
            f"the tokenizer has ids up to {foreign.vocab_size - 1}, the model {text_size} rows; "
            "they belong to different models."
        )


def _describe_bytes(data: bytes) -> str:
    try:
        return repr(data.decode("utf-8"))
    except UnicodeDecodeError:
        return repr(data)
