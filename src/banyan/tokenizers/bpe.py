"""Byte-level byte-pair encoding: text ↔ ordinary token ids, lossless for any UTF-8.

Special tokens do not exist here. Text that looks like one ("<|bos|>") is encoded as the ordinary characters it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from banyan.core.errors import CheckpointError, ConfigError, InputError
from banyan.core.memory import give_back_freed_memory

NUM_BYTES = 256
_MAX_TOKEN_BYTES = 16  # keeps whole template sentences and rulers of dashes from becoming one token

# Where merges may not cross: words with their leading space, single digits, punctuation, line ends, indentation.
# Source: the pattern of Qwen2 (a published tokenizer.json), so that other tools know how to read ours.
_WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class BytePairTokenizer:
    """Turns text into token ids below `vocab_size` and back, byte for byte."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._bytes_of = _token_bytes(tokenizer)

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int, min_frequency: int = 2) -> BytePairTokenizer:
        """Learn merges from texts; the same texts always give the same tokenizer.

        The result has fewer than `vocab_size` tokens where the texts hold too few pairs seen `min_frequency` times.
        Raises: ConfigError if there is no room for the 256 single bytes.
        """
        if vocab_size < NUM_BYTES:
            raise ConfigError(
                f"tokenizer.vocab_size={vocab_size} is too small: the single bytes alone need {NUM_BYTES}."
            )
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORD_PATTERN), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            max_token_length=_MAX_TOKEN_BYTES,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer=trainer)
        give_back_freed_memory()
        return cls(tokenizer)

    @property
    def vocab_size(self) -> int:
        """Number of ordinary tokens."""
        return len(self._bytes_of)

    @property
    def starts_with_space(self) -> bool:
        """Never: a text's first word is written as it is."""
        return False

    def is_text(self, token_id: int) -> bool:
        """Is this an ordinary token?"""
        return 0 <= token_id < len(self._bytes_of)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text.

        Raises: InputError if the text holds a lone surrogate, which UTF-8 cannot express.
        """
        return self.encode_with_offsets(text)[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts, in parallel."""
        return encode_texts(self._tokenizer, texts)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the ids of a text and, for each, the range of characters it belongs to (end exclusive).

        Tokens that are parts of one character all get that character's range.
        """
        return encode_text(self._tokenizer, text)

    def encode_inside(self, text: str, *, after_special: bool = False) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the same ids and ranges: where a text stands changes nothing."""
        return self.encode_with_offsets(text)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes one token stands for."""
        return self._bytes_of[token_id]

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Return the exact bytes the ids stand for."""
        return b"".join(self._bytes_of[token_id] for token_id in token_ids)

    def decode(self, token_ids: Iterable[int]) -> str:
        """Return the text the ids stand for; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(token_ids).decode("utf-8", errors="replace")

    def to_json(self) -> str:
        """Return the tokenizer in Hugging Face's tokenizer.json format."""
        return self._tokenizer.to_str()

    @classmethod
    def from_json(cls, text: str) -> BytePairTokenizer:
        """Read a byte-level BPE in Hugging Face's tokenizer.json format.

        Special tokens, truncation and padding that the file asks for are left out: a text's ids are the text, whole.

        Raises: CheckpointError if it is something else.
        """
        try:
            description = json.loads(text)
            description |= {"added_tokens": [], "truncation": None, "padding": None}
            return cls(build_tokenizer(description))
        except Exception as error:  # of JSON, of the tokenizer, or of what it holds
            raise CheckpointError(f"tokenizer.json cannot be read as a byte-level BPE: {error}.") from error


def build_tokenizer(description: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer that a tokenizer.json describes.

    Raises: CheckpointError if there is none.
    """
    try:
        return Tokenizer.from_str(json.dumps(description, ensure_ascii=False))
    except BaseException as error:  # `tokenizers` raises bare Exception, or panics, which is no Exception
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise CheckpointError(f"tokenizer.json cannot be read: {error}.") from error


def encode_text(tokenizer: Tokenizer, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the ids of a text and the characters that each belongs to; no text becomes a special token.

    Raises: InputError if the text holds a lone surrogate, which UTF-8 cannot express.
    """
    require_utf8(text)
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return list(encoding.ids), list(encoding.offsets)


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of many texts, in parallel.

    Raises: InputError as `encode_text`.
    """
    for text in texts:
        require_utf8(text)
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [list(encoding.ids) for encoding in encodings]


def require_utf8(text: str) -> None:
    """Refuse a text that UTF-8 cannot express.

    Raises: InputError if it holds a lone surrogate.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds a lone surrogate U+{ord(text[error.start]):04X} at character {error.start}; "
            "text must be valid Unicode."
        ) from error


def _token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """Map every id to its bytes.

    Raises: CheckpointError if ids have holes, or a token is not written in the byte alphabet.
    """
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))) or len(vocabulary) < NUM_BYTES:
        raise CheckpointError(f"token ids must run from 0 without holes and hold all {NUM_BYTES} bytes.")
    byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    try:
        bytes_of = {
            token_id: bytes(byte_of[character] for character in token) for token, token_id in vocabulary.items()
        }
    except KeyError as error:
        raise CheckpointError(f"character {error} of a token is not in the byte alphabet.") from error
    return [bytes_of[token_id] for token_id in range(len(bytes_of))]


def byte_alphabet() -> list[str]:
    """Return the printable character that stands for each byte, 0 to 255.

    Source: GPT-2's encoder.py (`bytes_to_unicode`): printable bytes stand for themselves, the others follow U+0100.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(NUM_BYTES) if byte not in printable]
    return [chr(byte) if byte in printable else chr(NUM_BYTES + hidden.index(byte)) for byte in range(NUM_BYTES)]
