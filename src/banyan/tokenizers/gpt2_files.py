"""GPT-2's first tokenizer files, vocab.json and merges.txt, as the tokenizer.json that came after them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from banyan.core.errors import CheckpointError
from banyan.core.files import read_json, read_text

VOCAB_FILE, MERGES_FILE = "vocab.json", "merges.txt"
END_OF_TEXT = "<|endoftext|>"
_MAX_BYTES = 64 << 20


def gpt2_description(directory: Path) -> dict[str, Any]:
    """Return the tokenizer.json of GPT-2's two files.

    Raises: CheckpointError if they are not GPT-2's: other families cut words by other rules that are not written there.
    """
    vocabulary = read_json(directory / VOCAB_FILE, max_bytes=_MAX_BYTES)
    if not isinstance(vocabulary, dict) or END_OF_TEXT not in vocabulary:
        raise CheckpointError(
            f"{directory / VOCAB_FILE} does not hold {END_OF_TEXT}, so it is not GPT-2's vocabulary.",
            hint="write a tokenizer.json once, with transformers: AutoTokenizer.from_pretrained(…).save_pretrained(…)",
        )
    lines = read_text(directory / MERGES_FILE, max_bytes=_MAX_BYTES).splitlines()
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    if bad := next((merge for merge in merges if len(merge) != 2), None):
        raise CheckpointError(f"{directory / MERGES_FILE} has the line {' '.join(bad)!r:.60}; a merge is two tokens.")
    return _description(vocabulary, merges)


def gpt2_config() -> dict[str, Any]:
    """Return the tokenizer_config.json that belongs to it."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
    }


def _description(vocabulary: Mapping[str, int], merges: list[list[str]]) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocabulary[END_OF_TEXT], "content": END_OF_TEXT, **flags}],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(vocabulary),
            "merges": merges,
        },
    }
