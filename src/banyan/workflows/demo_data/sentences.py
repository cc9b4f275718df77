"""The first sentence of a docstring."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"(?<=[^.\s]\.)(?=\s|$)(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?<!cf\.)|\n\s*\n")


def first_sentence(text: str) -> str:
    """Return the text up to its first full stop or empty line, line breaks as they are."""
    match = _SENTENCE_END.search(text)
    return text[: match.start() if match else len(text)].strip()
