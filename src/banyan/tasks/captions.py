"""Captions of a picture: templates × names, in English and Chinese, so that one class is known under many wishes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from banyan.core.errors import DataError
from banyan.core.types import Row
from banyan.tasks.rows import column
from banyan.tasks.units import has_unspaced_script

LABEL_ALONE = ("{name}",)  # the caption of a picture that has a label and nothing else
NAME = "name"  # the placeholder that stands for whatever a label is called
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def captions_of(row: Row, *, templates: Sequence[str], names: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return every caption that the templates make of a row, each one once.

    `{name}` becomes every name that `names` gives the row's label (its number or its word), or else the column `name`
    or the label itself. A template in Chinese takes the Chinese names, one in another language the others, and one
    that is nothing but placeholders takes all. Other placeholders become columns; a list is joined by commas.
    Raises: DataError if a column is missing, or every caption would be blank.
    """
    called = tuple(_names_of(row, names)) if any(NAME in _PLACEHOLDER.findall(one) for one in templates) else ("",)
    columns = sorted({name for one in templates for name in _PLACEHOLDER.findall(one)} - {NAME})
    values = tuple((name, _as_text(column(row, name))) for name in columns)
    captions = _fill(tuple(templates), called, values)
    if not captions:
        raise DataError(f"the captions {list(templates)} are blank for a row with {dict(values)!r:.60}.")
    return captions


def fill_from(row: Row, template: str) -> str:
    """Put the row's columns in place of `{column}`, lists joined by commas; blank where all of them are.

    Raises: DataError if a column is missing.
    """
    return _PLACEHOLDER.sub(lambda match: _as_text(column(row, match[1])), template).strip(" ,")


def label_of(row: Row) -> str:
    """Return what a row is labelled as, its word before its number; empty where it has no label."""
    label = row.get("label_name") if row.get("label_name") is not None else row.get("label")
    return "" if label is None else str(label)


def _names_of(row: Row, names: Mapping[str, Sequence[str]]) -> Sequence[str]:
    for key in (row.get("label_name"), row.get("label")):
        if key is not None and str(key) in names:
            return names[str(key)]
    own = row.get(NAME) if row.get(NAME) is not None else label_of(row)
    if not own:
        raise DataError(
            f"a caption with {{{NAME}}} needs a label or a name; the row's columns: {', '.join(map(str, row))}.",
            hint="name the column, for example columns: {label: my_column}",
        )
    return (_as_text(own),)


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@lru_cache(maxsize=4096)  # the pictures of one class share their captions
def _fill(templates: tuple[str, ...], names: tuple[str, ...], values: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    filled = (
        _filled(template, {**dict(values), NAME: name}) for template in templates for name in _fitting(template, names)
    )
    return tuple(dict.fromkeys(caption for caption in filled if caption))


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template).strip(" ,")


def _fitting(template: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in the language of a template; all of them where it has no words, or none of them fits."""
    own_words = _PLACEHOLDER.sub("", template)
    if not any(map(str.isalpha, own_words)) or f"{{{NAME}}}" not in template:
        return names if f"{{{NAME}}}" in template else names[:1]
    is_chinese = has_unspaced_script(own_words)
    return tuple(name for name in names if has_unspaced_script(name) is is_chinese) or names
