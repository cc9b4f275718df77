"""How well a tokenizer fits a text: how many tokens each script costs, and where the cuts fall."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from banyan.tokenizers.vocabulary import Vocabulary

_SCRIPT_OF_NAME = {
    "LATIN": "Latin",
    "CJK": "Han",
    "IDEOGRAPHIC": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "HANGUL": "Hangul",
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
    "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari",
    "THAI": "Thai",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptFertility:
    """What one script costs: a token that spans several characters is shared among them."""

    script: str
    num_characters: int
    num_bytes: int
    num_tokens: float

    @property
    def tokens_per_character(self) -> float:
        """Below 1 where tokens span several characters."""
        return self.num_tokens / self.num_characters

    @property
    def bytes_per_token(self) -> float:
        """The higher, the fewer tokens a text of this script needs."""
        return self.num_bytes / self.num_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenPiece:
    """One token of a text, as a person reads it."""

    token_id: int
    description: str
    start: int  # characters of the text, end exclusive
    end: int


def fertility_by_script(vocabulary: Vocabulary, texts: Iterable[str]) -> list[ScriptFertility]:
    """Count characters, bytes and tokens of each script in the texts, the most frequent script first.

    Raises: InputError if a text holds a lone surrogate.
    """
    characters: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    tokens: dict[str, float] = {}
    for text in texts:
        offsets = vocabulary.encode_with_offsets(text)[1]
        for character, count in Counter(text).items():
            script = script_of(character)
            characters[script] += count
            sizes[script] += count * len(character.encode("utf-8"))
        for start, end in offsets:
            for character in text[start:end]:
                script = script_of(character)
                tokens[script] = tokens.get(script, 0.0) + 1 / (end - start)
    return [
        ScriptFertility(script=script, num_characters=count, num_bytes=sizes[script], num_tokens=tokens[script])
        for script, count in characters.most_common()
    ]


def token_pieces(vocabulary: Vocabulary, text: str) -> list[TokenPiece]:
    """Return the tokens of a text in order, with what each stands for."""
    token_ids, offsets = vocabulary.encode_with_offsets(text)
    return [
        TokenPiece(token_id=token_id, description=vocabulary.describe(token_id), start=start, end=end)
        for token_id, (start, end) in zip(token_ids, offsets, strict=True)
    ]


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """Return a character's script, or "digits", "punctuation", "space", "other"."""
    if character.isspace():
        return "space"
    category = unicodedata.category(character)
    if category == "Nd":
        return "digits"
    if category[0] in "PS":
        return "punctuation"
    first_word = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    return _SCRIPT_OF_NAME.get(first_word, "other")
