"""The tokenizer of a model directory as other tools are to read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from banyan.core.errors import CheckpointError
from banyan.core.files import read_bytes
from banyan.core.model_directory import TOKENIZER_FILE
from banyan.tokenizers.chat_formats import BANYAN
from banyan.tokenizers.foreign import TOKENIZER_CONFIG_FILE
from banyan.transfer.export_format import ExportSource

CHAT_TEMPLATE_FILE = "chat_template.jinja"
_OTHERS = ("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model")
_MAX_BYTES = 64 << 20
_BOS = "<|bos|>"


def tokenizer_files(source: ExportSource) -> dict[str, bytes]:
    """Return file names and contents; a tokenizer that came from elsewhere goes as it came.

    With one of ours a text begins with `<|bos|>`, as it does for the model, and its length is said.
    Raises: FileError or CheckpointError if there is no tokenizer.
    """
    names = [TOKENIZER_FILE, TOKENIZER_CONFIG_FILE]
    names += [name for name in (CHAT_TEMPLATE_FILE, *_OTHERS) if (source.directory / name).is_file()]
    files = {name: read_bytes(source.directory / name, max_bytes=_MAX_BYTES) for name in names}
    if source.vocabulary.chat is BANYAN:
        tokenizer, config = read_tokenizer(files)
        tokenizer["post_processor"] = _begin_with_bos(source.vocabulary.bos_id)
        config["model_max_length"] = source.config.max_seq_len
        files[TOKENIZER_FILE] = _to_bytes(tokenizer)
        files[TOKENIZER_CONFIG_FILE] = _to_bytes(config)
    return files


def read_tokenizer(files: Mapping[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the contents of tokenizer.json and tokenizer_config.json.

    Raises: CheckpointError if one of them is not what its name says.
    """
    found = []
    for name in (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE):
        try:
            content = json.loads(files[name])
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{name} is not valid JSON: {error}.") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"{name} must be a JSON object.")
        found.append(content)
    return found[0], found[1]


def _begin_with_bos(bos_id: int) -> dict[str, Any]:
    first = [{"SpecialToken": {"id": _BOS, "type_id": 0}}]
    text, second = ({"Sequence": {"id": name, "type_id": type_id}} for name, type_id in (("A", 0), ("B", 1)))
    return {
        "type": "TemplateProcessing",
        "single": [*first, text],
        "pair": [*first, text, second],
        "special_tokens": {_BOS: {"id": _BOS, "ids": [bos_id], "tokens": [_BOS]}},
    }


def _to_bytes(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
