"""Translation: a sentence in one language becomes a sentence in another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from banyan.core.config import config
from banyan.core.errors import ConfigError, DataError, InputError, UnknownLanguageError
from banyan.core.types import Prediction, Row
from banyan.tasks.augmentation.config import NOISE
from banyan.tasks.augmentation.passage import Passage, WordSplitter, split_passage
from banyan.tasks.base import Asked
from banyan.tasks.metrics.measurement import Measurement
from banyan.tasks.metrics.translations import ScoredTranslation, measure_translations
from banyan.tasks.rows import rename_columns, row_from_json, text_column
from banyan.tasks.text_to_text import TextToText

_DIRECTION = re.compile(r"\s*([A-Za-z]{2,3}(?:-\w+)?)\s*>\s*([A-Za-z]{2,3}(?:-\w+)?)\s*:\s*(.*)", re.DOTALL)
_CODE = re.compile(r"[A-Za-z]{1,8}(?:[-_][A-Za-z0-9]{1,8}){0,2}")  # as in zh-Hant-TW
_MAX_LISTED = 20  # languages or directions in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class TranslationExample:
    """A sentence, its direction, and its translation; None where it is asked for."""

    text: str
    source_language: str
    target_language: str
    translation: str | None = None
    group: str = ""  # examples of a named group are scored apart from the others

    @property
    def direction(self) -> str:
        """The direction as it is written in the prompt."""
        return f"{self.source_language}>{self.target_language}"


@config
class Translation(TextToText[TranslationExample]):
    """Translates in every direction its rows name; the direction is ordinary text in front of the sentence."""

    kind: ClassVar[str] = "translation"
    main_metric: ClassVar[str] = "chrf"
    other_metrics: ClassVar[tuple[str, ...]] = ("bleu", "exact_match")
    augmentations: ClassVar[frozenset[str]] = frozenset({*NOISE, "synonyms", "back_translation"})

    source_language: str | None = None  # None: as each row says
    target_language: str | None = None
    both_directions: bool = False  # every training row is learned forwards and backwards
    directions: tuple[str, ...] = ()  # that it was taught, as in "en>de"; empty: not known, and any may be asked for

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.source_language is None) != (self.target_language is None):
            raise ConfigError(f"task {self.name} needs both source_language and target_language, or neither.")

    def parse(self, row: Row, *, with_answer: bool = True) -> TranslationExample:
        """Read {"translation": {"en": …, "de": …}}, columns named by language, or {"source", "target"}.

        A row may name its own direction in `source_language` and `target_language`, or one of the two.
        Raises: DataError if a language or a sentence is missing; UnknownLanguageError if a row without an answer asks
        for what the task was not taught.
        """
        row = rename_columns(row, self.columns)
        source_language, target_language = self._direction(row)
        if self.directions and not with_answer:
            self._check_taught(source_language, target_language)
        texts = row["translation"] if isinstance(row.get("translation"), dict) else row
        source_name, target_name = _column_names(texts, source_language, target_language)
        return TranslationExample(
            text=text_column(texts, source_name),
            source_language=source_language,
            target_language=target_language,
            translation=text_column(texts, target_name) if with_answer else None,
            group=str(row.get("group") or ""),
        )

    def examples_from_row(self, row: Row) -> tuple[TranslationExample, ...]:
        """Return the row's direction, and the reverse if both are learned."""
        example = self.parse(row)
        return (example, _reversed(example)) if self.both_directions else (example,)

    def taught_by(self, rows: Sequence[Row]) -> Self:
        """Return the task with every direction that a row which can be read teaches."""
        found: set[str] = set()
        for row in rows:
            with suppress(DataError):
                found.update(example.direction for example in self.examples_from_row(row))
        return replace(self, directions=tuple(sorted(found)))

    def _direction(self, row: Row) -> tuple[str, str]:
        """Return the languages that a row names; what it leaves open is the task's, or as its columns are ordered."""
        named = [str(row.get(name) or "") for name in ("source_language", "target_language")]
        if all(named):
            return named[0], named[1]
        usual = self._usual_languages(row)
        for place, language in enumerate(named):
            if language:  # one of the two alone: the other is the first that differs from it
                other = next((name for name in usual if name != language), usual[1 - place])
                return (language, other) if place == 0 else (other, language)
        return usual[0], usual[1]

    def _usual_languages(self, row: Row) -> list[str]:
        if self.source_language and self.target_language:
            return [self.source_language, self.target_language]
        languages = [str(name) for name in row["translation"]] if isinstance(row.get("translation"), dict) else []
        if len(languages) < 2:
            raise DataError(
                f"task {self.name} cannot tell the direction of a row with the columns {', '.join(map(str, row))}.",
                hint="set source_language and target_language in the recipe or in each row",
            )
        return languages

    def _check_taught(self, source_language: str, target_language: str) -> None:
        """Refuse languages that no training row had on that side; a new pair of known ones may be tried.

        Raises: UnknownLanguageError.
        """
        pairs = [direction.partition(">")[::2] for direction in self.directions]
        asked = {"source_language": source_language, "target_language": target_language}
        for side, (field, language) in enumerate(asked.items()):
            known = sorted({pair[side] for pair in pairs})
            if language not in known:
                doing = "translate into" if side else "translate from"
                raise UnknownLanguageError(
                    f"task {self.name} cannot {doing} {field}={_shown(language)}; it was taught {_listed(known)}.",
                    field=field,
                    hint=f"name one of these, as in {self.directions[0]}",
                )
        if source_language == target_language and (source_language, target_language) not in pairs:
            raise UnknownLanguageError(
                f"task {self.name} cannot translate from {_shown(source_language)} into itself; source_language and "
                f"target_language must differ.",
                field="target_language",
                hint=f"it was taught {_listed(self.directions)}",
            )

    def example_from_text(self, text: str) -> TranslationExample:
        """Read `en>de: sentence`, a JSON row, or a sentence alone where the direction is fixed."""
        return self.asked_from_text(text).example

    def asked_from_text(self, text: str) -> Asked[TranslationExample]:
        """Read the sentence, with its direction where the text names one."""
        try:
            return self.asked_from_row(_typed_row(text))
        except DataError as error:
            raise InputError(
                f"task {self.name} cannot read what to translate ({error}).",
                hint='write the direction in front of the sentence, for example "en>de: good morning"',
            ) from error

    def preface(self, example: TranslationExample) -> str:
        """Return the direction."""
        return f"{example.direction}: "

    def source(self, example: TranslationExample) -> str:
        """Return the sentence."""
        return example.text

    def passages(self, example: TranslationExample, *, split: WordSplitter) -> tuple[Passage, ...]:
        """Return the sentence; its translation is never touched."""
        return (split_passage(example.text, units=split(example.text)),)

    def with_passages(self, example: TranslationExample, passages: Sequence[Passage]) -> TranslationExample:
        """Return another sentence with the same translation."""
        return replace(example, text=passages[0].text)

    def references(self, example: TranslationExample) -> Sequence[str]:
        """Return the translation."""
        return () if example.translation is None else (example.translation,)

    def measure(self, examples: Sequence[TranslationExample], predictions: Sequence[Prediction]) -> Measurement:
        """Count chrF, BLEU and exact match for every direction, and for every named group by itself."""
        pairs = zip(examples, predictions, strict=True)
        return measure_translations(
            [
                ScoredTranslation(
                    target_language=example.target_language,
                    group=f"{example.direction}/{example.group}" if example.group else example.direction,
                    references=(example.translation or "",),
                    answer=prediction.text,
                    is_apart=bool(example.group),
                )
                for example, prediction in pairs
            ]
        )


def _shown(language: str) -> str:
    """Name a language that was asked for; what does not look like the code of one may be anybody's text."""
    return f'"{language}"' if _CODE.fullmatch(language) else f"a text of {len(language)} characters"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _typed_row(text: str) -> Row:
    if text.lstrip().startswith("{"):
        return dict(row_from_json(text))
    named = _DIRECTION.fullmatch(text)
    if named is None:
        return {"source": text.strip()}
    return dict(zip(("source_language", "target_language", "source"), named.groups(), strict=True))


def _reversed(example: TranslationExample) -> TranslationExample:
    assert example.translation is not None
    return replace(
        example,
        text=example.translation,
        translation=example.text,
        source_language=example.target_language,
        target_language=example.source_language,
    )


def _column_names(texts: Row, source_language: str, target_language: str) -> tuple[str, str]:
    """Return the columns that hold the two sentences: named by language if there is such a one."""
    if source_language in texts:
        return source_language, target_language
    return "source" if "source" in texts else "text", "target"
