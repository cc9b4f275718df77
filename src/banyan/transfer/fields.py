"""The fields of a foreign JSON object, each asked for by name and kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any

from banyan.core.errors import CheckpointError

_MAX_COUNT = 1 << 31
_MISSING: Any = object()


class Fields:
    """Reads one JSON object and remembers which fields were asked for.

    Every reader raises CheckpointError, with the name and the value, for a value that is not of its kind.
    """

    def __init__(self, fields: Mapping[str, Any], *, source: str) -> None:
        self._fields = fields
        self.source = source
        self.asked: set[str] = set()

    def refusal(self, name: str, why: str) -> CheckpointError:
        """Return the one-line error for a field that cannot be used."""
        shown = repr(self._fields.get(name))
        key = name if name.isidentifier() else repr(name)
        return CheckpointError(f"{self.source}: {key}={shown if len(shown) <= 80 else shown[:77] + '...'}: {why}.")

    def count(self, name: str) -> int:
        """Return a number of things, at least one; it must be there."""
        return self._count(name, self._get(name, _MISSING))

    def count_or_none(self, name: str, *, default: int | None) -> int | None:
        """Return a number of things, or None where the file says null."""
        value = self._get(name, default)
        return None if value is None else self._count(name, value)

    def whole(self, name: str, *, default: int) -> int:
        """Return a whole number of either sign."""
        value = self._get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refusal(name, "it must be a whole number")
        return value

    def number(self, name: str, *, default: float = _MISSING) -> float:
        """Return a number above 0."""
        value = self._get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
            raise self.refusal(name, "it must be a number above 0")
        return float(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self.refusal(name, "it must be true or false")
        return value

    def word(self, name: str, *, default: str = _MISSING) -> str:
        """Return a text."""
        value = self._get(name, default)
        if not isinstance(value, str):
            raise self.refusal(name, "it must be a text")
        return value

    def words(self, name: str) -> list[str] | None:
        """Return a list of texts, or None if there is none."""
        value = self._get(name, None)
        if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise self.refusal(name, "it must be a list of texts")
        return value

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return an object, or None if there is none."""
        value = self._get(name, None)
        if value is not None and not isinstance(value, dict):
            raise self.refusal(name, "it must be an object")
        return value

    def expect(self, name: str, allowed: tuple[Any, ...], *, default: Any) -> None:
        """Make sure that a field changes nothing, or nothing but what is known."""
        value = self._get(name, default)
        if not any(value == known and isinstance(value, bool) == isinstance(known, bool) for known in allowed):
            known_values = " or ".join(repr(known) for known in allowed if known is not None)
            raise self.refusal(name, f"Banyan has no switch for this; it computes {known_values or 'it absent'}")

    def only(self, known: Set[str]) -> None:
        """Make sure that there are no other fields."""
        if unknown := sorted(self._fields.keys() - known):
            raise self.refusal(unknown[0], "Banyan has no switch for this")

    def _get(self, name: str, default: Any) -> Any:
        self.asked.add(name)
        value = self._fields.get(name, default)
        if value is _MISSING:
            raise CheckpointError(f"{self.source}: {name} is missing.")
        return value

    def _count(self, name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _MAX_COUNT:
            raise self.refusal(name, f"it must be a whole number from 1 to {_MAX_COUNT - 1}")
        return value
