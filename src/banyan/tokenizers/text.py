"""The seam between ordinary text and its ids, the same for our own tokenizers and foreign ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

Offsets: TypeAlias = list[tuple[int, int]]  # for each id the characters it belongs to, end exclusive


class TextTokenizer(Protocol):
    """Turns text into ids and back. No text can become a special token."""

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        ...

    @property
    def starts_with_space(self) -> bool:
        """Whether a text's first word is written with a space that the text does not have."""
        ...

    def is_text(self, token_id: int) -> bool:
        """Does the id stand for text?"""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, or raise InputError if it is not valid Unicode."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts."""
        ...

    def encode_with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        """Return the ids of a text and the characters that each belongs to."""
        ...

    def encode_inside(self, text: str, *, after_special: bool = False) -> tuple[list[int], Offsets]:
        """Return the same for a text that stands behind other text, or right behind a special token."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes one token stands for."""
        ...

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """Return the exact bytes the ids stand for."""
        ...

    def to_json(self) -> str:
        """Return the tokenizer in Hugging Face's tokenizer.json format, without special tokens."""
        ...
