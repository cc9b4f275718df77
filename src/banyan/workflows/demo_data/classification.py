"""classification: a docstring → its area of the library, {"text", "label"}."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from banyan.core.types import Row
from banyan.workflows.demo_data.library import Definition, LibraryModule

_SHORTEST, _LONGEST = 25, 600  # characters of a docstring that says something, and of what is kept of it


def classification_rows(
    modules: Sequence[LibraryModule], definitions: Sequence[Definition], *, generator: random.Random
) -> list[Row]:
    """Return every different docstring of the modules whose area is known, mixed."""
    rows: dict[str, Row] = {}
    for module, docstring in _docstrings(modules, definitions):
        text = shorten_at_line(docstring, _LONGEST)
        if module.area is not None and len(text) >= _SHORTEST:
            rows.setdefault(text, {"text": text, "label": module.area, "module": module.name})
    mixed = list(rows.values())
    generator.shuffle(mixed)
    return mixed


def _docstrings(
    modules: Sequence[LibraryModule], definitions: Sequence[Definition]
) -> Iterator[tuple[LibraryModule, str]]:
    yield from ((module, module.docstring) for module in modules)
    yield from ((definition.module, definition.docstring) for definition in definitions)


def shorten_at_line(text: str, max_characters: int) -> str:
    """Return the first lines of a text that fit; of a first line that does not fit, its beginning."""
    if len(text) <= max_characters:
        return text
    end = text.rfind("\n", 0, max_characters + 1)
    return text[: end if end > 0 else max_characters].rstrip()
