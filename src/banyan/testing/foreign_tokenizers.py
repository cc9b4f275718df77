"""Small tokenizers in the style of foreign families, as the files that such a model comes with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from banyan.core.files import atomic_write_json

_SENTENCES = (
    "The banyan grows one tree at a time until it is a whole forest.",
    "System: User: Assistant: Tool: Answer: user assistant system\n\n",
    "INST What does the function return? It returns the sum. [ / ] <<SYS>>\n\n<</SYS>>",
    "    indented = 12345 + 678\n\n\n",
    "独木成林：一棵树，一片森林。今天天气很好。",
)
_LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPACE = "\u2581"
_NUM_TOKENS = 700
_HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

FAMILIES = ("gpt2", "llama2", "llama3", "mistral", "mistral_v3", "qwen2.5", "qwen3")


def write_foreign_tokenizer(family: str, directory: Path) -> Path:
    """Write a small tokenizer of a family into a folder and return the folder."""
    description, config = foreign_files(family)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_text(json.dumps(description, ensure_ascii=False), encoding="utf-8")
    atomic_write_json(directory / "tokenizer_config.json", config)
    return directory


def foreign_files(family: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return tokenizer.json and tokenizer_config.json of a family."""
    return _MAKERS[family]()


def _gpt2() -> tuple[dict[str, Any], dict[str, Any]]:
    description = _byte_level(None)
    end = "<|endoftext|>"
    return _with_added(description, {end: _size(description)}), {"bos_token": end, "eos_token": end}


def _llama3() -> tuple[dict[str, Any], dict[str, Any]]:
    description = _byte_level(_LLAMA3_PATTERN)
    description["model"]["ignore_merges"] = True
    names = ("<|begin_of_text|>", "<|end_of_text|>", *_HEADERS)
    added = {name: _size(description) + number for number, name in enumerate(names)}
    begin = names[0]
    description["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": begin, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {begin: {"id": begin, "ids": [added[begin]], "tokens": [begin]}},
    }
    config = {"bos_token": begin, "eos_token": "<|eot_id|>", "chat_template": "{{ '<|start_header_id|>' }}"}
    return _with_added(description, added), config


def _qwen(template: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a tokenizer with markers that its file does not call special."""
    description = _byte_level(_LLAMA3_PATTERN.replace("{1,3}", ""))
    description["normalizer"] = {"type": "NFC"}
    first = _size(description)
    added = {"<|endoftext|>": first, "<|im_start|>": first + 1, "<|im_end|>": first + 2}
    markers = {"<tool_response>": first + 3, "</tool_response>": first + 4}
    config = {
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "add_bos_token": False,
        "chat_template": template,
    }
    return _with_added(_with_added(description, added), markers, special=False), config


def _qwen2_5() -> tuple[dict[str, Any], dict[str, Any]]:
    words = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    return _qwen("{{ '<|im_start|>system\\n" + words + "<|im_end|>\\n' }}")


def _qwen3() -> tuple[dict[str, Any], dict[str, Any]]:
    return _qwen("{{ '<|im_start|>user\\n' }}")


def _llama2() -> tuple[dict[str, Any], dict[str, Any]]:
    description = _sentencepiece(())
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    description["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": _SPACE}, replace]}
    return description, _sentencepiece_config("{{ '[INST] <<SYS>>' }}")


def _mistral() -> tuple[dict[str, Any], dict[str, Any]]:
    description, _ = _llama2()
    return description, _sentencepiece_config("{{ '[INST] ' }}")


def _mistral_v3() -> tuple[dict[str, Any], dict[str, Any]]:
    description = _sentencepiece(("[INST]", "[/INST]"))
    description["pre_tokenizer"] = {
        "type": "Metaspace",
        "replacement": _SPACE,
        "prepend_scheme": "first",
        "split": False,
    }
    return description, _sentencepiece_config("{{ '[INST]' }}")


def _sentencepiece_config(template: str) -> dict[str, Any]:
    return {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "chat_template": template,
    }


@cache
def _trained_byte_level(pattern: str | None) -> str:
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern is None:
        tokenizer.pre_tokenizer = byte_level
    else:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=_NUM_TOKENS, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(_SENTENCES * 3, trainer=trainer)
    return str(tokenizer.to_str())


def _byte_level(pattern: str | None) -> dict[str, Any]:
    description: dict[str, Any] = json.loads(_trained_byte_level(pattern))
    return description


@cache
def _trained_sentencepiece(control: tuple[str, ...]) -> str:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="never")
    special = ["<unk>", "<s>", "</s>", *control, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=_NUM_TOKENS, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([text.replace("\n", "") for text in _SENTENCES * 3], trainer=trainer)
    return str(tokenizer.to_str())


def _sentencepiece(control: tuple[str, ...]) -> dict[str, Any]:
    description: dict[str, Any] = json.loads(_trained_sentencepiece(control))
    kept = {"<unk>", "<s>", "</s>", *control}
    description["added_tokens"] = [entry for entry in description["added_tokens"] if entry["content"] in kept]
    description["normalizer"] = description["pre_tokenizer"] = None
    to_space = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    steps: Sequence[Mapping[str, Any]] = (to_space, {"type": "ByteFallback"}, {"type": "Fuse"}, strip)
    description["decoder"] = {"type": "Sequence", "decoders": list(steps)}
    return description


def _size(description: Mapping[str, Any]) -> int:
    return len(description["model"]["vocab"])


def _with_added(description: dict[str, Any], ids: Mapping[str, int], *, special: bool = True) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    added = [{"id": token_id, "content": name, **flags} for name, token_id in ids.items()]
    return {**description, "added_tokens": [*description["added_tokens"], *added]}


_MAKERS = {
    "gpt2": _gpt2,
    "llama2": _llama2,
    "llama3": _llama3,
    "mistral": _mistral,
    "mistral_v3": _mistral_v3,
    "qwen2.5": _qwen2_5,
    "qwen3": _qwen3,
}
