"""The one id space of a model: text | special | image.

Ordinary text tokens come first, then the special tokens, then unused rows up to a multiple of 64 (matrix sizes that
hardware likes), then the image codes. Special tokens enter a sequence only as ids put there by code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from banyan.core.errors import CheckpointError, ConfigError, InputError, UnknownNameError
from banyan.core.files import atomic_write_json, atomic_write_text, read_json, read_text
from banyan.core.model_directory import TOKENIZER_FILE
from banyan.core.registry import did_you_mean
from banyan.tokenizers.bpe import BytePairTokenizer
from banyan.tokenizers.chat import CHAT_TEMPLATE, ROLES

MAX_TASKS = 32
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"

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
_ROW_MULTIPLE = 64
_MAX_TOKENIZER_BYTES = 64 << 20  # the largest in public use have a quarter of that


class Vocabulary:
    """Names every id a model can read or write, and turns text into ids and back."""

    def __init__(self, text: BytePairTokenizer, *, task_names: Sequence[str] = (), num_image_codes: int = 0) -> None:
        if len(task_names) > MAX_TASKS:
            raise ConfigError(f"{len(task_names)} tasks are too many for one model; at most {MAX_TASKS}.")
        if len(set(task_names)) < len(task_names):
            raise ConfigError(f"task names must differ, got {', '.join(task_names)}.")
        self.text = text
        self.task_names = tuple(task_names)
        self.num_image_codes = num_image_codes
        rows = text.vocab_size + len(SPECIAL_TOKENS)
        self.text_size = -(-rows // _ROW_MULTIPLE) * _ROW_MULTIPLE  # text, special and unused rows
        first = text.vocab_size
        self._special_ids = {name: first + index for index, name in enumerate(SPECIAL_TOKENS)}
        self.pad_id = self._special_ids["<|pad|>"]
        self.bos_id = self._special_ids["<|bos|>"]
        self.eos_id = self._special_ids["<|eos|>"]
        self.sep_id = self._special_ids["<|sep|>"]
        self.system_id = self._special_ids["<|system|>"]
        self.user_id = self._special_ids["<|user|>"]
        self.assistant_id = self._special_ids["<|assistant|>"]
        self.tool_id = self._special_ids["<|tool|>"]
        self.end_id = self._special_ids["<|end|>"]
        self.image_id = self._special_ids["<|image|>"]
        self.end_image_id = self._special_ids["<|/image|>"]
        self.null_id = self._special_ids["<|null|>"]

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

        Raises: UnknownNameError if the model has no such task.
        """
        if name not in self.task_names:
            raise UnknownNameError(f"no task {name!r}{did_you_mean(name, self.task_names)}")
        return self._special_ids[f"<|task_{self.task_names.index(name)}|>"]

    def role_id(self, role: str) -> int:
        """Return the id that opens a message of a role.

        Raises: InputError for a role the chat format does not have.
        """
        if role not in ROLES:
            raise InputError(f"role {role!r} is not part of the chat format; known: {', '.join(ROLES)}.")
        return self._special_ids[f"<|{role}|>"]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; nothing in the text can become a special token."""
        return self.text.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts, in parallel."""
        return self.text.encode_batch(texts)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a text and the range of characters each belongs to (end exclusive)."""
        return self.text.encode_with_offsets(text)

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Return the bytes of the text tokens; special tokens, unused rows and image codes are dropped."""
        return self.text.decode_bytes(token_id for token_id in token_ids if self.is_text(token_id))

    def decode(self, token_ids: Iterable[int]) -> str:
        """Return the text of the text tokens; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(token_ids).decode("utf-8", errors="replace")

    def is_text(self, token_id: int) -> bool:
        """Is this an ordinary token?"""
        return 0 <= token_id < self.text.vocab_size

    def is_special(self, token_id: int) -> bool:
        """Is this a special token or an unused row after them?"""
        return self.text.vocab_size <= token_id < self.text_size

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
        index = token_id - self.text.vocab_size
        if index >= len(SPECIAL_TOKENS):
            return f"unused row {token_id}"
        task = index - (len(SPECIAL_TOKENS) - MAX_TASKS)
        name = SPECIAL_TOKENS[index]
        return f"{name} {self.task_names[task]}" if 0 <= task < len(self.task_names) else name

    def save(self, directory: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, as Hugging Face tools read them."""
        description = json.loads(self.text.to_json())
        description["added_tokens"] = [_added_token(name, token_id) for name, token_id in self._special_ids.items()]
        atomic_write_text(directory / TOKENIZER_FILE, json.dumps(description, ensure_ascii=False, indent=1) + "\n")
        atomic_write_json(
            directory / TOKENIZER_CONFIG_FILE,
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<|bos|>",
                "eos_token": "<|eos|>",
                "pad_token": "<|pad|>",
                "clean_up_tokenization_spaces": False,
                "chat_template": CHAT_TEMPLATE,
            },
        )

    @classmethod
    def load(cls, directory: Path, *, task_names: Sequence[str] = (), num_image_codes: int = 0) -> Vocabulary:
        """Read the vocabulary that `save` wrote.

        Raises: FileError if the file is missing; CheckpointError if it does not hold our special tokens.
        """
        path = directory / TOKENIZER_FILE
        text = BytePairTokenizer.from_json(read_text(path, max_bytes=_MAX_TOKENIZER_BYTES))
        vocabulary = cls(text, task_names=task_names, num_image_codes=num_image_codes)
        added = read_json(path, max_bytes=_MAX_TOKENIZER_BYTES).get("added_tokens")
        entries = added if isinstance(added, list) else []
        listed = [(entry.get("content"), entry.get("id")) for entry in entries if isinstance(entry, dict)]
        if listed != list(vocabulary._special_ids.items()) or len(listed) != len(entries):
            raise CheckpointError(
                f"{path} lists {len(entries)} special tokens; this format has {len(SPECIAL_TOKENS)}, in a fixed order.",
                hint="it was written by another program or version; take the tokenizer.json that belongs to the model",
            )
        return vocabulary


def _added_token(name: str, token_id: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": name, **flags}


def _describe_bytes(data: bytes) -> str:
    try:
        return repr(data.decode("utf-8"))
    except UnicodeDecodeError:
        return repr(data)
