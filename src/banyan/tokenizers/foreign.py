"""A tokenizer that came with foreign weights: its text, its control tokens, its chat format, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import BanyanError, CheckpointError
from banyan.core.files import read_bytes, read_json, read_text
from banyan.core.model_directory import CONFIG_FILE, TOKENIZER_FILE
from banyan.tokenizers.chat_formats import ChatFormat
from banyan.tokenizers.chat_recognition import Recognition, recognise_chat_format
from banyan.tokenizers.chat_template import chat_template
from banyan.tokenizers.foreign_bpe import ForeignBytePair, token_names
from banyan.tokenizers.gpt2_files import MERGES_FILE, VOCAB_FILE, gpt2_config, gpt2_description
from banyan.tokenizers.llama2c_file import llama2c_config, llama2c_description
from banyan.tokenizers.token_roles import TokenRoles, find_token_roles

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
_GENERATION_CONFIG_FILE = "generation_config.json"
_SPECIAL_TOKENS_FILE = "special_tokens_map.json"
_TEMPLATE_FILE = "chat_template.jinja"
_LLAMA2C_FILES = "tok*.bin"
_SENTENCEPIECE_FILE = "tokenizer.model"
_MAX_TOKENIZER_BYTES = 64 << 20  # the largest in public use have half of that


@dataclass(frozen=True, kw_only=True)
class ForeignTokenizer:
    """Everything about a foreign tokenizer that rendering, checking and writing need."""

    text: ForeignBytePair
    roles: TokenRoles
    recognition: Recognition
    description: Mapping[str, Any]  # tokenizer.json
    config: Mapping[str, Any]  # tokenizer_config.json
    content: bytes | None  # of the source's tokenizer.json; None: made from other files

    @property
    def control_ids(self) -> dict[str, int]:
        """Tokens that only our own code writes, by name."""
        return {**self.roles.markers, **self.roles.special}

    @property
    def bos_id(self) -> int:
        """What begins a text that nothing stands before; the end token where the family has no other."""
        return self.roles.eos_ids[0] if self.roles.bos_id is None else self.roles.bos_id

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Every id that ends an answer, the tokenizer's own first."""
        return self.roles.eos_ids

    @property
    def pad_id(self) -> int:
        """What fills up a batch; the end token where none was named."""
        return self.roles.eos_ids[0] if self.roles.pad_id is None else self.roles.pad_id

    @property
    def starts_with_bos(self) -> bool:
        """Whether the family puts its first token before every text."""
        return self.roles.starts_with_bos

    @property
    def vocab_size(self) -> int:
        """One more than the highest id; the model may have more rows, which are then never read or written."""
        return self.text.vocab_size

    @property
    def chat_format(self) -> ChatFormat:
        """How a conversation with the model is laid out."""
        return self.recognition.chat

    def to_files(self, *, chat: ChatFormat | None = None) -> dict[str, bytes]:
        """Return tokenizer.json (as it came) and tokenizer_config.json (with the template of our chat format)."""
        template = chat_template(chat or self.chat_format, starts_with_bos=self.starts_with_bos)
        config = {key: value for key, value in self.config.items() if key not in {"auto_map", "chat_template"}}
        config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
        return {
            TOKENIZER_FILE: self.content or _json_bytes(self.description, indent=1),
            TOKENIZER_CONFIG_FILE: _json_bytes({**config, "chat_template": template}, indent=2),
        }


def read_foreign_tokenizer(source: Path) -> ForeignTokenizer:
    """Read the tokenizer of a foreign model: a folder with its files, or one llama2.c tokenizer file.

    Raises: CheckpointError in one line if there is none that can be read, or its parts do not fit together.
    """
    try:
        return _read(source)
    except BanyanError as error:
        place = "" if str(source) in error.message else f"{source}: "
        raise CheckpointError(f"{place}{error.message}", hint=error.hint) from error


def _read(source: Path) -> ForeignTokenizer:
    directory = source.parent if source.is_file() else source
    description, config, content = _read_files(source)
    config = {**_optional(directory / _SPECIAL_TOKENS_FILE), **config}
    description = _with_tokens_of_config(description, config)
    model = {**_optional(directory / CONFIG_FILE), **_optional(directory / _GENERATION_CONFIG_FILE)}
    roles = find_token_roles(description, config, model)
    return ForeignTokenizer(
        text=ForeignBytePair(description, special_ids=roles.special.values(), marker_ids=roles.markers.values()),
        roles=roles,
        recognition=recognise_chat_format(
            {**roles.markers, **roles.special},
            template=_template(directory, config),
            model_type=_optional(directory / CONFIG_FILE).get("model_type"),
        ),
        description=description,
        config=config,
        content=content,
    )


def _read_files(source: Path) -> tuple[dict[str, Any], dict[str, Any], bytes | None]:
    """Return tokenizer.json, tokenizer_config.json, and the bytes of the first where the source has it."""
    if source.is_file():
        return llama2c_description(source), llama2c_config(), None
    config = _optional(source / TOKENIZER_CONFIG_FILE)
    if (source / TOKENIZER_FILE).is_file():
        description = read_json(source / TOKENIZER_FILE, max_bytes=_MAX_TOKENIZER_BYTES)
        if not isinstance(description, dict):
            raise CheckpointError(f"{source / TOKENIZER_FILE} must be a JSON object.")
        return description, config, read_bytes(source / TOKENIZER_FILE)
    if (source / VOCAB_FILE).is_file() and (source / MERGES_FILE).is_file():
        return gpt2_description(source), {**gpt2_config(), **config, "tokenizer_class": "PreTrainedTokenizerFast"}, None
    found = sorted(source.glob(_LLAMA2C_FILES))
    if len(found) == 1:
        return llama2c_description(found[0]), llama2c_config(), None
    raise _no_tokenizer(source, found)


def _no_tokenizer(source: Path, found: list[Path]) -> CheckpointError:
    if found:
        names = ", ".join(path.name for path in found)
        return CheckpointError(f"{source} holds several tokenizers of llama2.c: {names}.", hint="keep the right one")
    if (source / _SENTENCEPIECE_FILE).is_file():
        return CheckpointError(
            f"{source / _SENTENCEPIECE_FILE} is a SentencePiece file, which Banyan does not read.",
            hint="write a tokenizer.json beside it once: "
            "transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    return CheckpointError(
        f"{source} has no tokenizer: {TOKENIZER_FILE}, {VOCAB_FILE} with {MERGES_FILE}, or {_LLAMA2C_FILES}.",
        hint="copy the tokenizer's files into the folder of the weights",
    )


def _optional(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must be a JSON object.")
    return value


def _with_tokens_of_config(description: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Add the tokens that only tokenizer_config.json lists."""
    known = token_names(description)
    listed = config.get("added_tokens_decoder") or {}
    if not isinstance(listed, dict):
        raise CheckpointError(f"{TOKENIZER_CONFIG_FILE}: added_tokens_decoder must be a mapping.")
    missing = [
        {**entry, "id": int(token_id)}
        for token_id, entry in listed.items()
        if token_id.isdigit() and int(token_id) not in known and isinstance(entry, dict)
    ]
    return {**description, "added_tokens": [*(description.get("added_tokens") or []), *missing]}


def _template(directory: Path, config: Mapping[str, Any]) -> str | None:
    """Return the text of the model's own chat template; of several the one called default."""
    if (directory / _TEMPLATE_FILE).is_file():
        return read_text(directory / _TEMPLATE_FILE, max_bytes=_MAX_TOKENIZER_BYTES)
    value = config.get("chat_template")
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
        value = named.get("default")
    return value if isinstance(value, str) else None


def _json_bytes(value: Any, *, indent: int) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=indent) + "\n").encode("utf-8")
