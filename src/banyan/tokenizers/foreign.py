"""A tokenizer that came with foreign weights: its text, its control tokens, its chat format, and its files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from banyan.core.errors import BanyanError, CheckpointError
from banyan.core.files import read_bytes, read_json, read_text
from banyan.core.model_directory import CONFIG_FILE, TOKENIZER_FILE
from banyan.tokenizers.chat_formats import ChatFormat
from banyan.tokenizers.chat_recognition import Recognition, recognise_chat_format
from banyan.tokenizers.chat_template import chat_template
from banyan.tokenizers.foreign_bpe import SPACE_MARK, ForeignBytePair, token_names
from banyan.tokenizers.gpt2_files import MERGES_FILE, VOCAB_FILE, gpt2_config, gpt2_description
from banyan.tokenizers.llama2c_file import llama2c_config, llama2c_description

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
_GENERATION_CONFIG_FILE = "generation_config.json"
_SPECIAL_TOKENS_FILE = "special_tokens_map.json"
_TEMPLATE_FILE = "chat_template.jinja"
_LLAMA2C_FILES = "tok*.bin"
_SENTENCEPIECE_FILE = "tokenizer.model"
_MAX_TOKENIZER_BYTES = 64 << 20  # the largest in public use have half of that
_ROLES_OF_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")
# Added tokens that look like these are for code to write, even where their file does not call them special.
_MARKER = re.compile(rf"[\s{SPACE_MARK}]*(<.+>|\[.+\])\s*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ForeignTokenizer:
    """Everything about a foreign tokenizer that rendering, checking and writing need."""

    text: ForeignBytePair
    control_ids: Mapping[str, int]  # tokens that only our own code writes, by name
    special_ids: Mapping[str, int]  # those of them that are never shown as text
    bos_id: int  # begins a text that nothing stands before; the end token where the family has none of its own
    eos_ids: tuple[int, ...]  # every id that ends an answer, the tokenizer's own first
    pad_id: int
    starts_with_bos: bool  # whether the family puts its first token before every text
    recognition: Recognition
    description: Mapping[str, Any]  # tokenizer.json
    config: Mapping[str, Any]  # tokenizer_config.json
    content: bytes | None  # of the source's tokenizer.json; None: made from other files

    @property
    def vocab_size(self) -> int:
        """One more than the highest id; the model may have more rows, which are then never read or written."""
        return self.text.vocab_size

    @property
    def chat_format(self) -> ChatFormat:
        """How a conversation with the model is laid out."""
        return self.recognition.chat

    @cached_property
    def names(self) -> Mapping[int, str]:
        """Every token as its file writes it, by id."""
        return token_names(self.description)

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
    ids = {name: token_id for token_id, name in token_names(description).items()}
    special = _special_ids(description, config, ids)
    markers = {
        entry["content"]: entry["id"] for entry in description["added_tokens"] if _MARKER.fullmatch(entry["content"])
    }
    control = {**markers, **special}
    text = ForeignBytePair(description, special_ids=set(special.values()), marker_ids=set(markers.values()))
    eos_ids = _eos_ids(config, model, ids)
    bos_id = _id_of(config, "bos_token", ids, _first_id(model.get("bos_token_id"), text.vocab_size))
    pad_id = _id_of(config, "pad_token", ids, _first_id(model.get("pad_token_id"), text.vocab_size))
    return ForeignTokenizer(
        text=text,
        control_ids=control,
        special_ids=special,
        bos_id=eos_ids[0] if bos_id is None else bos_id,
        eos_ids=eos_ids,
        pad_id=eos_ids[0] if pad_id is None else pad_id,
        starts_with_bos=bos_id is not None and _puts_bos_first(description, config),
        recognition=recognise_chat_format(
            control,
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


def _special_ids(description: Mapping[str, Any], config: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, int]:
    named = [name for role in _ROLES_OF_TOKENS if (name := _content(config.get(role)))]
    unknown = description["model"].get("unk_token")
    special = [entry["content"] for entry in description["added_tokens"] if entry.get("special")]
    return {name: ids[name] for name in (*special, *named, unknown) if name in ids}


def _content(token: Any) -> str | None:
    """Return the text of a token that is written as such or as a mapping."""
    value = token.get("content") if isinstance(token, dict) else token
    return value if isinstance(value, str) else None


def _id_of(config: Mapping[str, Any], role: str, ids: Mapping[str, int], default: int | None) -> int | None:
    name = _content(config.get(role))
    if name is None:
        return default
    if name not in ids:
        raise CheckpointError(
            f"{TOKENIZER_CONFIG_FILE} names the {role} {name!r}, and the tokenizer has no such token."
        )
    return ids[name]


def _first_id(value: Any, vocab_size: int) -> int | None:
    return next(iter(_valid_ids(value, vocab_size)), None)


def _valid_ids(value: Any, vocab_size: int) -> list[int]:
    """Return the token ids of a config's entry, a number or a list; -1 and the like mean none."""
    items: Iterable[Any] = value if isinstance(value, list) else [value]
    return [item for item in items if type(item) is int and 0 <= item < vocab_size]


def _eos_ids(config: Mapping[str, Any], model: Mapping[str, Any], ids: Mapping[str, int]) -> tuple[int, ...]:
    own = _id_of(config, "eos_token", ids, None)
    listed = _valid_ids(model.get("eos_token_id"), max(ids.values()) + 1)
    found = tuple(dict.fromkeys([*([] if own is None else [own]), *listed]))
    if not found:
        raise CheckpointError(
            "the tokenizer has no end token, so no answer would ever end.",
            hint=f"name it as eos_token in {TOKENIZER_CONFIG_FILE}, or as eos_token_id in {CONFIG_FILE}",
        )
    return found


def _puts_bos_first(description: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Tell whether the family begins every text with its first token."""
    stated = config.get("add_bos_token")
    if isinstance(stated, bool):
        return stated
    bos = _content(config.get("bos_token"))
    return bos is not None and f'"id": {json.dumps(bos)}' in json.dumps(description.get("post_processor"))


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
