"""Our own tokenizer as Hugging Face tools read it: tokenizer.json and tokenizer_config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from banyan.core.model_directory import TOKENIZER_FILE
from banyan.tokenizers.chat_formats import BANYAN
from banyan.tokenizers.chat_template import chat_template
from banyan.tokenizers.foreign import TOKENIZER_CONFIG_FILE
from banyan.tokenizers.text import TextTokenizer


def banyan_files(text: TextTokenizer, special_ids: Mapping[str, int]) -> dict[str, bytes]:
    """Return both files of a tokenizer of ours with its special tokens."""
    description = json.loads(text.to_json())
    description["added_tokens"] = [_added_token(name, token_id) for name, token_id in special_ids.items()]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|bos|>",
        "eos_token": "<|eos|>",
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
        "chat_template": chat_template(BANYAN),
    }
    return {
        TOKENIZER_FILE: (json.dumps(description, ensure_ascii=False, indent=1) + "\n").encode(),
        TOKENIZER_CONFIG_FILE: (json.dumps(config, ensure_ascii=False, indent=2) + "\n").encode(),
    }


def _added_token(name: str, token_id: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": name, **flags}
