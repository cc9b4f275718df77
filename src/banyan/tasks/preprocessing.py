"""The `preprocess:` key of a task: how its texts are cleaned before they become tokens, wherever they are read.

It is a part of the task, so it is written beside the model: what was cleaned for training is cleaned for an answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import Any, Literal, TypeAlias

from banyan.core.config import config
from banyan.core.errors import ConfigError, missing_extra
from banyan.tasks.units import split_units

Change: TypeAlias = Callable[[str], str]

_EXTRA = "text"
_STEMMING = Lock()  # a stemmer keeps the word it works on
# What pysbd has rules for.
SENTENCE_LANGUAGES = (
    *("am", "ar", "bg", "da", "de", "el", "en", "es", "fa", "fr", "hi", "hy", "it", "ja", "kk", "mr", "my", "nl", "pl"),
    *("ru", "sk", "ur", "zh"),
)


ALL_STEPS = frozenset({"normalise", "stem", "split_sentences"})
UNIT_STEPS = frozenset({"normalise", "stem"})  # those that leave every word where it is


@config
class Preprocessing:
    """What is done to a text before it is read. Everything is off unless given."""

    normalise: Literal["nfkc", "ftfy"] | None = None  # one form for like characters; ftfy repairs wrong decoding, too
    stem: str | None = None  # a language of Snowball, such as english: words lose their endings and capitals
    split_sentences: str | None = None  # a language of pysbd, such as en or zh: every sentence on a line of its own

    def __post_init__(self) -> None:
        if self.split_sentences is not None and self.split_sentences not in SENTENCE_LANGUAGES:
            raise ConfigError(
                f"preprocess.split_sentences={self.split_sentences} is no language that pysbd knows.",
                hint="known: " + " ".join(SENTENCE_LANGUAGES),
            )

    def check(self, *, task: str, kind: str, allowed: frozenset[str]) -> None:
        """Refuse what a kind cannot have, or what needs a package that is not here, before any work is done.

        Raises: ConfigError, also for a language without a stemmer; MissingExtraError.
        """
        steps = [name for name in sorted(ALL_STEPS) if getattr(self, name) is not None]
        if refused := next((name for name in steps if name not in allowed), None):
            raise ConfigError(
                f"task {task}: preprocess.{refused}={getattr(self, refused)} cannot be used for {kind}.",
                hint=f"for {kind} there are {', '.join(sorted(allowed))}" if allowed else "leave preprocess out",
            )
        self.clean("a")

    def clean(self, text: str) -> str:
        """Return a text as it is read.

        Raises: MissingExtraError for a package that is not installed.
        """
        text = self._normalised(text)
        if self.split_sentences is not None:
            text = _sentence_by_sentence(text, self.split_sentences)
        return text if self.stem is None else _change_words(text, self._stemmed)

    def clean_unit(self, text: str) -> str:
        """Return one unit of a text as it is read; it never disappears, for a tag or an answer may stand at it.

        Raises: as `clean`.
        """
        cleaned = self._normalised(text)
        cleaned = cleaned if self.stem is None else self._stemmed(cleaned)
        return cleaned or text

    def _normalised(self, text: str) -> str:
        if self.normalise == "nfkc":
            return unicodedata.normalize("NFKC", text)
        return text if self.normalise is None else _repaired(text)

    def _stemmed(self, word: str) -> str:
        assert self.stem is not None
        return stem_word(word, self.stem)


@lru_cache(maxsize=100_000)
def stem_word(word: str, language: str) -> str:
    """Return a word in lower case without its ending; Han characters and marks stay as they are.

    Raises: MissingExtraError; ConfigError for a language without a stemmer.
    Source: Porter 2001, the Snowball stemmers.
    """
    with _STEMMING:
        return str(_stemmer(language).stemWord(word.lower()))


@lru_cache
def _stemmer(language: str) -> Any:
    try:
        import snowballstemmer  # an optional package
    except ImportError as error:
        raise missing_extra("snowballstemmer", _EXTRA, needed_for=f"preprocess.stem: {language}") from error
    if language not in snowballstemmer.algorithms():
        raise ConfigError(
            f"preprocess.stem={language} is no language that Snowball knows.",
            hint="known: " + " ".join(snowballstemmer.algorithms()),
        )
    return snowballstemmer.stemmer(language)


def _repaired(text: str) -> str:
    try:
        import ftfy  # an optional package
    except ImportError as error:
        raise missing_extra("ftfy", _EXTRA, needed_for="preprocess.normalise: ftfy") from error
    return ftfy.fix_text(text)


def _sentence_by_sentence(text: str, language: str) -> str:
    try:
        import pysbd  # an optional package
    except ImportError as error:
        raise missing_extra("pysbd", _EXTRA, needed_for=f"preprocess.split_sentences: {language}") from error
    segmenter = pysbd.Segmenter(language=language, clean=False)  # a new one each time: it keeps the text it works on
    return "\n".join(sentence.strip() for sentence in segmenter.segment(text))


def _change_words(text: str, change: Change) -> str:
    parts: list[str] = []
    at = 0
    for unit in split_units(text):
        parts += [text[at : unit.start], change(text[unit.start : unit.end])]
        at = unit.end
    return "".join([*parts, text[at:]])
