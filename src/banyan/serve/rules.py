"""The rules a request field can carry; each knows its own sentence, so that a refusal reads "n must be …, got 9"."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

MAX_SHOWN_CHARACTERS = 40  # of a refused value
MAX_MODEL_NAME_CHARACTERS = 200  # of one that is served, and so of one that is asked for


def refuse(code: str, sentence: str) -> PydanticCustomError:
    """Return the error a rule raises; `sentence` continues the field's name."""
    return PydanticCustomError(code, "{sentence}", {"sentence": sentence})


def show(value: Any) -> str:
    """Write a refused value as JSON, shortened; a list or an object may hold a user's text, and is only named."""
    if isinstance(value, dict | list | tuple):
        return "an object" if isinstance(value, dict) else "an array"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"


def show_content(value: Any) -> str:
    """Do the same for a field that is there for a user's text: a text is only named, too."""
    return "a string" if isinstance(value, str) else show(value)


@dataclass(frozen=True, slots=True)
class _Rule:
    """A check that runs before pydantic's own, so that every refusal has our words and our code."""

    def check(self, value: Any) -> Any:
        """Return the value as the field keeps it, or raise `refuse(…)`."""
        raise NotImplementedError

    def describe(self, schema: dict[str, Any]) -> None:
        """Add the rule to the field's JSON schema."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = handler(schema)
        self.describe(described)
        return described


@dataclass(frozen=True, slots=True)
class Whole(_Rule):
    """An integer between two bounds; true, 1.0 and "1" are none."""

    low: int
    high: int

    def check(self, value: Any) -> Any:
        """Refuse other types (invalid_type) and values outside (out_of_range)."""
        if type(value) is not int:
            raise refuse("invalid_type", f"must be {self._sentence}, got {show(value)}")
        if not self.low <= value <= self.high:
            raise refuse("out_of_range", f"must be {self._sentence}, got {show(value)}")
        return value

    def describe(self, schema: dict[str, Any]) -> None:
        """Add the bounds."""
        schema.update(minimum=self.low, maximum=self.high)

    @property
    def _sentence(self) -> str:
        return f"an integer between {self.low} and {self.high}"


@dataclass(frozen=True, slots=True)
class Real(_Rule):
    """A finite number between two bounds; the lower one can be excluded."""

    low: float
    high: float
    above: bool = False  # True: low itself is refused

    def check(self, value: Any) -> Any:
        """Refuse other types (invalid_type) and values outside (out_of_range)."""
        if type(value) not in (int, float):
            raise refuse("invalid_type", f"must be {self._sentence}, got {show(value)}")
        if not self.low <= value <= self.high or (self.above and value == self.low):
            raise refuse("out_of_range", f"must be {self._sentence}, got {show(value)}")
        return float(value)

    def describe(self, schema: dict[str, Any]) -> None:
        """Add the bounds."""
        schema["exclusiveMinimum" if self.above else "minimum"] = self.low
        schema["maximum"] = self.high

    @property
    def _sentence(self) -> str:
        bounds = (
            f"above {self.low:g} and at most {self.high:g}" if self.above else f"between {self.low:g} and {self.high:g}"
        )
        return f"a finite number {bounds}"


@dataclass(frozen=True, slots=True)
class OneOf(_Rule):
    """One of a few words."""

    words: tuple[str, ...]

    def check(self, value: Any) -> Any:
        """Refuse everything else (invalid_value)."""
        if value not in self.words:
            raise refuse("invalid_value", f"must be one of {', '.join(self.words)}, got {show(value)}")
        return value

    def describe(self, schema: dict[str, Any]) -> None:
        """Add the words."""
        schema["enum"] = list(self.words)


@dataclass(frozen=True, slots=True)
class Only(_Rule):
    """A field of the protocol that we know but serve with one value only; anything else is refused, not ignored."""

    values: tuple[Any, ...]
    reason: str
    code: str = "unsupported_value"

    def check(self, value: Any) -> Any:
        """Refuse what would change the answer if it were ignored."""
        if value is not None and not any(value == known and type(value) is type(known) for known in self.values):
            raise refuse(self.code, self.reason)
        return value


@dataclass(frozen=True, slots=True)
class Converted(_Rule):
    """A value that may be written in several forms; `convert` checks them and returns the one we keep."""

    convert: Callable[[Any], Any]

    def check(self, value: Any) -> Any:
        """Refuse what `convert` refuses."""
        return self.convert(value)


@dataclass(frozen=True, slots=True)
class Length(_Rule):
    """A text or list that is neither empty, unless it may be, nor too long."""

    high: int
    unit: str = "characters"
    may_be_empty: bool = False

    def check(self, value: Any) -> Any:
        """Refuse the empty (empty_input) and the overlong (out_of_range); other types are left to the field."""
        if isinstance(value, str | list):
            if not self.may_be_empty and not (value.strip() if isinstance(value, str) else value):
                raise refuse("empty_input", "must not be empty")
            if len(value) > self.high:
                raise refuse("out_of_range", f"must have at most {self.high} {self.unit}, got {len(value)}")
        return value


ModelName: TypeAlias = Annotated[str, Length(MAX_MODEL_NAME_CHARACTERS)]
