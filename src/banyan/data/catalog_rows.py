"""From a data set's own columns to the field's common ones. Further columns stay, under their own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from banyan.core.types import Image, Row
from banyan.data.kinds import LABEL_NAMES
from banyan.data.languages import language_code

ANSWERS = ("label", "label_name", "tags", "answers", "summary", "translation", "messages")

RowReader: TypeAlias = Callable[[Row], Row | None]  # None: the row cannot be used, and is known not to

_SOURCES = ("context", "question", "document", "instruction", "input", "prompt", "text")
_NOT_ASKED = frozenset({*ANSWERS, *LABEL_NAMES})


def same(row: Row) -> Row:
    """Keep a row that is in a common format already."""
    return row


def with_question(row: Row) -> Row | None:
    """Keep a row that asks something: two of CMRC's have an answer and a blank question."""
    return row if row["question"].strip() else None


def answered(row: Row) -> Row:
    """Keep a conversation up to its last answer that says something: two of SGD's end in a blank one."""
    messages = row["messages"]
    if messages[-1]["content"].strip():
        return row
    last = max(place for place, said in enumerate(messages) if said["role"] == "assistant" and said["content"].strip())
    return row | {"messages": messages[: last + 1]}


def headline_and_text(row: Row) -> Row:
    """Join a news item's title and description as {"text"}; a title may be empty."""
    text = "\n".join(part for part in (row["title"], row["description"]) if part)
    return {"text": text, "label": row["label"], "label_name": row["label_name"]}


def sentiment(row: Row) -> Row:
    """Name the label of a row: 0 negative, 1 positive."""
    return row | {"label_name": ("negative", "positive")[row["label"]]}


def translation(source: str, target: str) -> RowReader:
    """Return a reader that puts two languages together: {"translation": {"en": …, "de": …}}."""

    def read(row: Row) -> Row:
        rest = {name: value for name, value in row.items() if name not in (source, target)}
        return {"translation": {source: row[source], target: row[target]}, **rest}

    return read


def summary(document: str, answer: str, *, several: str | None = None) -> RowReader:
    """Return a reader for {"document", "summary"}, with all references as `summaries` where a row has several."""

    def read(row: Row) -> Row:
        known = {document, answer, several}
        references = [row[answer]] if answer in row else []
        references += list(row.get(several) or ()) if several else []
        rest = {name: value for name, value in row.items() if name not in known}
        more = {"summaries": references} if len(references) > 1 else {}
        return {"document": row[document], "summary": references[0], **more, **rest}

    return read


def picture(caption: str) -> RowReader:
    """Return a reader for {"image", "text"}; the image is a file's bytes."""

    def read(row: Row) -> Row:
        return row | {"text": row[caption]}

    return read


def source_text(row: Row) -> str | bytes | None:
    """Return what a model is asked in a row of a common format, without the answer; None if there is no such thing."""
    if "image" in row:
        return _picture_bytes(row["image"])
    if isinstance(row.get("translation"), Mapping):
        return str(next(iter(row["translation"].values()), ""))
    if isinstance(row.get("messages"), list):
        return "\n".join(str(message.get("content")) for message in row["messages"] if isinstance(message, Mapping))
    if isinstance(row.get("tokens"), list):
        return " ".join(map(str, row["tokens"]))
    parts = [row[name] for name in _SOURCES if isinstance(row.get(name), str)]
    return "\n".join(parts) or _text_of_unknown_columns(row)


def _text_of_unknown_columns(row: Row) -> str | None:
    """Return the first of two languages, or else all texts of a row but those that answer."""
    texts = {str(name).lower(): value for name, value in row.items() if isinstance(value, str)}
    languages = [name for name in texts if language_code(name)]
    if len(languages) > 1:
        return texts[languages[0]]
    if {"source", "target"} <= texts.keys():
        return texts["source"]
    asked = [value for name, value in texts.items() if name not in _NOT_ASKED]
    return "\n".join(asked or texts.values()) or None


def _picture_bytes(value: Any) -> bytes | None:
    if isinstance(value, Mapping):
        value = value.get("bytes")
    data = value.pixels if isinstance(value, Image) else value
    return data if isinstance(data, bytes) else None
