"""Making texts uniform before they are learned, and telling when two are the same."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from typing import Literal

from banyan.core.config import config
from banyan.core.errors import ConfigError

_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\u200b\u2060\ufeff]")
_SPACE_BEFORE_LINE_END = re.compile(r"[ \t\u00a0]+$", re.MULTILINE)
_MANY_BLANK_LINES = re.compile(r"\n{4,}")


@config
class CleaningConfig:
    """What is done to every text of a corpus. Indentation and everything a reader can see stay."""

    unicode_form: Literal["NFC", "NFKC"] | None = "NFC"  # None: characters stay as they are
    drop_invisible: bool = True  # control characters, soft hyphens, zero-width spaces
    tidy_space: bool = True  # at line ends, around the text, and more than two blank lines in a row
    min_characters: int = 1  # a shorter text is left out

    def __post_init__(self) -> None:
        if self.min_characters < 1:
            raise ConfigError(f"cleaning.min_characters={self.min_characters} must be at least 1.")


def clean_text(text: str, config: CleaningConfig | None = None) -> str:
    """Return the text with line ends, Unicode form and white space made uniform; cleaning twice changes nothing."""
    config = config or CleaningConfig()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if config.drop_invisible:
        text = _INVISIBLE.sub("", text)
    if config.unicode_form:
        text = unicodedata.normalize(config.unicode_form, text)
    if config.tidy_space:
        text = _SPACE_BEFORE_LINE_END.sub("", text)
        text = _MANY_BLANK_LINES.sub("\n\n\n", text).strip("\n").rstrip()
    return text


def text_fingerprint(text: str) -> bytes:
    """Return 16 bytes that two texts share if they differ only in letter case, spacing or Unicode form."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return sha256(plain.encode("utf-8", "surrogatepass")).digest()[:16]
