"""A Hugging Face tokenizer as llama.cpp wants it: lists of tokens, kinds, merges or scores, and special ids.

llama.cpp brings the patterns that cut a text into words itself; a file only names one of them.
Source: llama.cpp, src/llama-vocab.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from banyan.core.errors import CheckpointError, ConfigError
from banyan.core.model_directory import TOKENIZER_FILE
from banyan.tokenizers.vocabulary import Vocabulary
from banyan.transfer.tokenizer_files import CHAT_TEMPLATE_FILE, read_tokenizer

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_ENDS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_QWEN2 = _CONTRACTIONS + r"|\p{N}" + _ENDS
_LLAMA3 = _CONTRACTIONS + r"|\p{N}{1,3}" + _ENDS
# How words are cut: the steps before byte-level pairs, and whether words that are tokens skip the merges → its name.
_PRE_TOKENIZERS: Mapping[tuple[tuple[str, ...], bool], str] = {
    (("gpt2",), False): "gpt-2",
    ((_QWEN2,), False): "qwen2",
    ((_LLAMA3,), True): "llama-bpe",
    ((_LLAMA3,), False): "smaug-bpe",  # the same words, without the short cut
    (("digits", "gpt2"), False): "smollm",
}


class TokenKind(IntEnum):
    """What llama.cpp should take a token for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3  # never text
    USER_DEFINED = 4  # found in a text before it is cut into words
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufTokenizer:
    """The `tokenizer.ggml.*` fields of a GGUF file; all lists are as long as the model's vocabulary."""

    model: str  # gpt2: byte-level pairs; llama: pairs of characters with bytes to fall back on
    pre: str  # which of llama.cpp's patterns cuts words
    tokens: tuple[str, ...]
    kinds: tuple[TokenKind, ...]
    merges: tuple[str, ...] = ()  # gpt2
    scores: tuple[float, ...] = ()  # llama: the pair with the highest is joined first
    special_ids: Mapping[str, int]  # bos, eos and pad; eot and unk where there are such
    add_bos: bool
    add_space_prefix: bool = False
    chat_template: str | None = None


def gguf_tokenizer(files: Mapping[str, bytes], vocabulary: Vocabulary) -> GgufTokenizer:
    """Read a tokenizer's files; the special ids are those that the model's own vocabulary writes.

    Raises: ConfigError for a tokenizer that llama.cpp does not know; CheckpointError for one that cannot be read.
    """
    try:
        tokenizer, config = read_tokenizer(files)
        model = tokenizer["model"]
        if model.get("type") != "BPE":
            raise ConfigError(f"GGUF knows tokenizers that join pairs, and this one is {model.get('type')}.")
        is_byte_level = not model.get("byte_fallback")
        tokens, kinds = _tokens(tokenizer, num_rows=vocabulary.text_size)
        return GgufTokenizer(
            model="gpt2" if is_byte_level else "llama",
            pre=_pre_tokenizer(tokenizer) if is_byte_level else "default",
            tokens=tokens,
            kinds=kinds,
            merges=tuple(" ".join(pair) for pair in _pairs(model)) if is_byte_level else (),
            scores=() if is_byte_level else _scores(model, tokens, kinds),
            special_ids=_special_ids(vocabulary, kinds),
            add_bos=bool(vocabulary.start_ids),
            add_space_prefix=not is_byte_level and _adds_space(tokenizer),
            chat_template=_chat_template(files, config),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{TOKENIZER_FILE} is not laid out as a tokenizer: {error!r}.") from error


def _tokens(tokenizer: Mapping[str, Any], *, num_rows: int) -> tuple[tuple[str, ...], tuple[TokenKind, ...]]:
    """Return text and kind of every row; rows without a token get a name of their own."""
    model = tokenizer["model"]
    found = {token_id: (text, _kind(text, model)) for text, token_id in model["vocab"].items()}
    for added in tokenizer.get("added_tokens") or ():
        kind = TokenKind.CONTROL if added["special"] else TokenKind.USER_DEFINED
        is_unknown = added["content"] == model.get("unk_token")
        found[added["id"]] = (added["content"], TokenKind.UNKNOWN if is_unknown else kind)
    if max(found) >= num_rows:
        raise CheckpointError(f"the tokenizer has id {max(found)}, and the model has {num_rows} rows.")
    rows = [found.get(row, (f"[PAD{row}]", TokenKind.UNUSED)) for row in range(num_rows)]
    texts, kinds = zip(*rows, strict=True)
    if len(set(texts)) < len(texts):
        doubled = next(text for text in texts if texts.count(text) > 1)
        raise ConfigError(f"GGUF needs tokens that differ, and {doubled!r} is there twice.")
    return texts, kinds


def _kind(text: str, model: Mapping[str, Any]) -> TokenKind:
    if text == model.get("unk_token"):
        return TokenKind.UNKNOWN
    is_byte = bool(model.get("byte_fallback")) and len(text) == 6 and text.startswith("<0x") and text.endswith(">")
    return TokenKind.BYTE if is_byte else TokenKind.NORMAL


def _pairs(model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for merge in model["merges"]:
        first, second = merge.split(" ") if isinstance(merge, str) else merge
        yield first, second


def _scores(model: Mapping[str, Any], tokens: Sequence[str], kinds: Sequence[TokenKind]) -> tuple[float, ...]:
    """Return scores under which pairs are joined in the order of the merges: minus the rank of a token's first one."""
    ranks: dict[str, int] = {}
    for rank, (first, second) in enumerate(_pairs(model)):
        ranks.setdefault(first + second, rank)
    last = len(ranks) + len(model["merges"])
    joined = (TokenKind.NORMAL, TokenKind.USER_DEFINED)
    return tuple(
        -float(ranks.get(token, last)) if kind in joined else 0.0 for token, kind in zip(tokens, kinds, strict=True)
    )


def _pre_tokenizer(tokenizer: Mapping[str, Any]) -> str:
    """Return llama.cpp's name for the way words are cut.

    Raises: ConfigError if it has none.
    """
    normalizer = (tokenizer.get("normalizer") or {}).get("type")
    steps = tuple(_steps(tokenizer.get("pre_tokenizer") or {}))
    name = _PRE_TOKENIZERS.get((steps, bool(tokenizer["model"].get("ignore_merges"))))
    # llama.cpp leaves out NFC, too, for the models that ask for it.
    if name is None or normalizer not in (None, "NFC"):
        shown = str(normalizer) if name is not None else ", ".join(steps) or "nothing"
        raise ConfigError(
            f"the tokenizer prepares text with {shown[:200]!r}, for which llama.cpp has no pre-tokenizer.",
            hint="--format hf takes the tokenizer as it is",
        )
    return name


def _steps(pre_tokenizer: Mapping[str, Any]) -> Iterator[str]:
    kind = pre_tokenizer.get("type")
    if kind == "Sequence":
        for step in pre_tokenizer["pretokenizers"]:
            yield from _steps(step)
    elif kind == "Split":
        yield str(next(iter(pre_tokenizer["pattern"].values())))
    elif kind == "Digits" and pre_tokenizer.get("individual_digits"):
        yield "digits"
    elif kind == "ByteLevel":
        if pre_tokenizer.get("add_prefix_space"):
            yield "a space before every text"
        if pre_tokenizer.get("use_regex", True):
            yield "gpt2"
    else:
        yield str(kind)


def _special_ids(vocabulary: Vocabulary, kinds: Sequence[TokenKind]) -> dict[str, int]:
    ids = {"bos": vocabulary.bos_id, "eos": vocabulary.eos_id, "pad": vocabulary.pad_id}
    if TokenKind.UNKNOWN in kinds:
        ids["unk"] = kinds.index(TokenKind.UNKNOWN)
    if vocabulary.end_reply_id != vocabulary.eos_id:
        ids["eot"] = vocabulary.end_reply_id  # the end of a turn
    return ids


def _adds_space(tokenizer: Mapping[str, Any]) -> bool:
    """Return whether a text begins with a space that nobody typed."""
    description = json.dumps([tokenizer.get("normalizer"), tokenizer.get("pre_tokenizer")], ensure_ascii=False)
    prepends = '"type": "Prepend"' in description
    metaspace = '"type": "Metaspace"' in description and '"prepend_scheme": "never"' not in description
    return prepends or metaspace


def _chat_template(files: Mapping[str, bytes], config: Mapping[str, Any]) -> str | None:
    if CHAT_TEMPLATE_FILE in files:
        return files[CHAT_TEMPLATE_FILE].decode("utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = next((entry["template"] for entry in template if entry["name"] == "default"), None)
    return template if isinstance(template, str) else None
