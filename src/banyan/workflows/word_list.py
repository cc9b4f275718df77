"""A list of words in a file, one a line, in any language; what is no word is left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from banyan.core.errors import DataError, FileError
from banyan.core.files import read_bytes

MAX_WORD_BYTES = 1000
_MAX_FILE_BYTES = 256 << 20
_MARK = b"\xef\xbb\xbf"  # which some editors write before UTF-8
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")

EMPTY, REPEATED = "empty", "repeated"
TOO_LONG, NOT_UTF8 = f"longer than {MAX_WORD_BYTES} bytes", "not UTF-8"


@dataclass(frozen=True, kw_only=True, slots=True)
class WordList:
    """Different words in the order of the file, and how many lines were left out, by reason."""

    words: tuple[str, ...]
    left_out: Mapping[str, int]


def read_words(path: Path) -> WordList:
    """Read the words of a file; white space around a word does not belong to it.

    Raises: FileError if the file cannot be read or is no text; DataError if it holds no word.
    """
    data = read_bytes(path, max_bytes=_MAX_FILE_BYTES)
    if data.startswith(_WIDE_MARKS) or b"\x00" in data[:1000]:
        raise FileError(
            f"{path} is not a UTF-8 text: it begins with {data[:4].hex(' ')}.",
            hint="if it is UTF-16, convert it: iconv -f UTF-16 -t UTF-8",
        )
    words: dict[str, None] = {}
    left_out: Counter[str] = Counter()
    for line in data.removeprefix(_MARK).splitlines():
        word, reason = _read_word(line)
        if word in words:
            reason = REPEATED
        if reason:
            left_out[reason] += 1
        else:
            words[word] = None
    if not words:
        seen = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "the file is empty"
        raise DataError(f"{path} holds no word ({seen}).", hint="write one word a line, as UTF-8")
    return WordList(words=tuple(words), left_out=dict(left_out))


def _read_word(line: bytes) -> tuple[str, str]:
    """Return the word of a line, or why there is none."""
    line = line.strip()
    if not line:
        return "", EMPTY
    if len(line) > MAX_WORD_BYTES:
        return "", TOO_LONG
    try:
        word = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return "", NOT_UTF8
    return word, "" if word else EMPTY
