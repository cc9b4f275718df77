"""Guessing what rows can teach, from the names of their columns and what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from banyan.core.types import Image, Row
from banyan.data.languages import language_code, scripts_of
from banyan.data.picture_folders import CAPTION_COLUMNS

TEXT_NAMES = (
    *("text", "sentence", "review", "comment", "content", "body", "question", "query", "utterance", "message", "tweet"),
    *("title", "headline", "document", "article", "description", "input", "abstract", "story", "post", "caption"),
)
LABEL_NAMES = (
    *("label_name", "label", "labels", "category", "class", "sentiment", "intent", "emotion", "topic", "polarity"),
    *("rating", "stars", "score", "target", "tag", "type"),
)
SUMMARY_NAMES = ("summary", "summaries", "highlights", "abstract", "tldr", "tl;dr", "subject", "headline")
DOCUMENT_NAMES = ("document", "article", "text", "dialogue", "dialog", "body", "content", "story", "source", "input")
PICTURE_NAMES = ("image", "img", "picture", "photo", "image_bytes", "png", "jpg")
PAIR_NAMES = (("instruction", "output"), ("prompt", "completion"), ("prompt", "response"), ("question", "answer"))
MAX_LABELS = 200
_MAX_LABEL_CHARACTERS = 60
_PICTURE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Guess:
    """What rows can teach, and how a recipe has to name their columns."""

    kind: str  # of task
    columns: Mapping[str, str] = field(default_factory=dict)  # our column name → theirs, where they differ
    options: Mapping[str, Any] = field(default_factory=dict)  # further keys of the task in a recipe
    shown: tuple[str, ...] = ()  # their columns that matter
    notes: tuple[str, ...] = ()


def guess_kind(rows: Sequence[Row]) -> Guess | None:
    """Return what a sample of rows can teach, or None if nothing fits."""
    names = {str(name).strip().lower(): str(name) for row in rows for name in row}
    return next((guess for look in _LOOKS if (guess := look(rows, names)) is not None), None)


def _dialogue(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    for name in ("messages", "conversations"):
        if _all(rows, names, name, list):
            return _guess("dialogue", {name: names[name]})
    if "conversation" in names and _all(rows, names, "conversation", list):
        return _guess("dialogue", {"messages": names["conversation"]})
    for asked, answered in PAIR_NAMES:
        if "context" not in names and _all(rows, names, asked, str) and _all(rows, names, answered, str):
            extra = {"input": names["input"]} if asked == "instruction" and "input" in names else {}
            return _guess("dialogue", {asked: names[asked], **extra, answered: names[answered]})
    return None


def _question_answering(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    context = _first_of(names, ("context", "passage", "paragraph", "document"))
    if context is None or "question" not in names or not _all(rows, names, "answers", list | dict):
        return None
    return _guess(
        "question_answering", {"question": names["question"], "context": context, "answers": names["answers"]}
    )


def _tagging(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    tags = _first_of(names, ("tags", "ner_tags", "labels", "bio_tags", "pos_tags"))
    tokens = _first_of(names, ("tokens", "words"))
    if tags and tokens and all(isinstance(row.get(tags), list) for row in rows):
        return _guess("tagging", {"tokens": tokens, "tags": tags})
    if "text" in names and tags and all(isinstance(row.get(tags), list) for row in rows):
        return _guess("tagging", {"text": names["text"], "tags": tags})
    entities = _first_of(names, ("entities", "spans", "ents"))
    if "text" in names and entities and all(isinstance(row.get(entities), list) for row in rows):
        return _guess("tagging", {"text": names["text"], "entities": entities})
    return None


def _translation(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    if _all(rows, names, "translation", dict):
        languages = list(rows[0][names["translation"]])
        if len(languages) < 2:
            return None
        return _guess("translation", {"translation": names["translation"]}, **_direction(*languages[:2]))
    if {"source", "target"} <= names.keys() and _are_texts(rows, names["source"], names["target"]):
        given = {"source_language", "target_language"} <= names.keys()
        options, notes = ({}, ()) if given else _guess_direction(rows, names["source"], names["target"])
        return _guess("translation", {"source": names["source"], "target": names["target"]}, notes=notes, **options)
    spoken = [names[name] for name in names if language_code(name)]
    if len(spoken) >= 2 and _are_texts(rows, *spoken[:2]):
        source, target = (str(language_code(name)) for name in spoken[:2])
        columns = {source: spoken[0], target: spoken[1]}
        return _guess("translation", columns, source_language=source, target_language=target)
    return None


def _nameless_translation(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    """Take the first two columns of a table without names for two languages if their texts are about as long."""
    first, second = names.get("column_1"), names.get("column_2")
    if first is None or second is None or not _are_texts(rows, first, second):
        return None
    if not 0.2 < _length(rows, first) / max(1, _length(rows, second)) < 5:
        return None
    options, notes = _guess_direction(rows, first, second)
    return _guess("translation", {"source": first, "target": second}, notes=notes, **options)


def _direction(source: str, target: str) -> dict[str, str]:
    return {"source_language": source, "target_language": target}


def _guess_direction(rows: Sequence[Row], source: str, target: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Name the languages of two columns by their script; English where Latin letters are all that is known."""
    guesses = []
    for name in (source, target):
        scripts = scripts_of(str(row.get(name)) for row in rows)
        known = {"Han": "zh", "Kana": "ja", "Hangul": "ko", "Cyrillic": "ru", "Greek": "el", "Arabic": "ar"}
        is_japanese = "Kana" in scripts
        guesses.append("ja" if is_japanese else known.get(scripts[0] if scripts else "", "en"))
    if guesses[0] == guesses[1]:
        guesses = ["xx", "yy"]
    note = f"the languages are a guess ({guesses[0]} → {guesses[1]}); correct source_language and target_language"
    return _direction(*guesses), (note,)


def _image_generation(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    known = [names[name] for name in PICTURE_NAMES if name in names]
    picture = next((name for name in known if _is_picture(rows[0].get(name))), None)
    caption = _first_of(names, CAPTION_COLUMNS)
    if picture is None or caption is None:
        return None
    ours = "label" if isinstance(rows[0].get(caption), int) else "text"  # a class has a number, a caption has words
    return _guess("image_generation", {"image": picture, ours: caption})


def _is_picture(value: object) -> bool:
    data = value.get("bytes") if isinstance(value, dict) else value
    return isinstance(data, Image) or (isinstance(data, bytes) and data.startswith(_PICTURE_STARTS))


def _summarization(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    summary = _first_of(names, SUMMARY_NAMES)
    documents = [names[name] for name in DOCUMENT_NAMES if name in names and names[name] != summary]
    if summary is None or not documents or not _are_texts(rows, documents[0]):
        return None
    if _length(rows, documents[0]) <= _length(rows, summary):
        return None
    ours = "summaries" if summary.lower() == "summaries" else "summary"
    return _guess("summarization", {"document": documents[0], ours: summary})


def _classification(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    known = [names[name] for name in LABEL_NAMES if name in names and _could_be_label(rows, names[name])]
    label = known[0] if known else _unnamed_label(rows, names)
    if label is None:
        return None
    text = _text_column(rows, names, besides=label)
    if text is None:
        return None
    ours = "label_name" if label.lower() == "label_name" else "label"
    others = [name for name in known[1:] if name.lower() not in {"label", "label_name"}]
    notes = tuple(f"column {name!r} could be learned as a label too" for name in others)
    title = names.get("title")
    if title and title != text and title.isidentifier() and text.isidentifier() and _are_texts(rows, title):
        template = f"{{{title}}}\n{{{text}}}"
        return _guess("classification", {ours: label}, shown=(title, text, label), notes=notes, template=template)
    return _guess("classification", {"text": text, ours: label}, notes=notes)


def _could_be_label(rows: Sequence[Row], name: str) -> bool:
    values = {row.get(name) for row in rows if isinstance(row.get(name), str | int)}
    is_short = all(len(str(value)) <= _MAX_LABEL_CHARACTERS for value in values)
    are_few = len(values) <= 2 or len(values) <= max(5, len(rows) // 2)
    return len(values) > 1 and len(values) <= MAX_LABELS and is_short and are_few and not _are_fractions(values)


def _are_fractions(values: set[Any]) -> bool:
    return any(str(value).count(".") == 1 and str(value).replace(".", "").isdigit() for value in values)


def _unnamed_label(rows: Sequence[Row], names: Mapping[str, str]) -> str | None:
    """Find the label in a table of two columns: the one with few, short, repeated values."""
    columns = [name for key, name in names.items() if key not in {"id", "index", "column_1"} or len(names) == 2]
    if len(columns) != 2 or len(rows) < 4:
        return None
    for name, other in (columns, columns[::-1]):
        num_values = len({str(row.get(name)) for row in rows})
        num_others = len({str(row.get(other)) for row in rows})
        if _could_be_label(rows, name) and num_values <= len(rows) // 2 and num_others > num_values:
            return name
    return None


def _language_modeling(rows: Sequence[Row], names: Mapping[str, str]) -> Guess | None:
    text = _text_column(rows, names, besides=None)
    if text is None:
        return None
    others = [name for name in names.values() if name != text and _could_be_label(rows, name)]
    labels = [name for name in others if 4 * len({str(row.get(name)) for row in rows}) <= len(rows)]
    notes = tuple(
        f"column {name!r} has few values; kind: classification and columns: {{label: {name}}} would learn it"
        for name in labels
    )
    return _guess("language_modeling", {"text": text}, notes=notes)


def _text_column(rows: Sequence[Row], names: Mapping[str, str], *, besides: str | None) -> str | None:
    """Return the column that holds the text: under a usual name, else the one with the longest texts."""
    usual = (names[name] for name in TEXT_NAMES if name in names and names[name] != besides)
    if (known := next((name for name in usual if name != "title" and _are_texts(rows, name)), None)) is not None:
        return known
    texts = [name for name in names.values() if name != besides and _are_texts(rows, name)]
    return max(texts, key=lambda name: _length(rows, name), default=None)


_LOOKS: tuple[Callable[[Sequence[Row], Mapping[str, str]], Guess | None], ...] = (
    _dialogue,
    _question_answering,
    _tagging,
    _translation,
    _image_generation,
    _summarization,
    _classification,
    _nameless_translation,
    _language_modeling,
)


def _guess(
    kind: str,
    columns: Mapping[str, str],
    *,
    shown: Sequence[str] = (),
    notes: Sequence[str] = (),
    **options: Any,
) -> Guess:
    renamed = {ours: theirs for ours, theirs in columns.items() if ours != theirs}
    return Guess(
        kind=kind,
        columns=renamed,
        options=options,
        shown=tuple(shown) or tuple(columns.values()),
        notes=tuple(notes),
    )


def _length(rows: Sequence[Row], name: str) -> int:
    return sum(len(str(row.get(name) or "")) for row in rows)


def _first_of(names: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _all(rows: Sequence[Row], names: Mapping[str, str], name: str, kind: Any) -> bool:
    return name in names and all(isinstance(row.get(names[name]), kind) for row in rows)


def _are_texts(rows: Sequence[Row], *columns: str) -> bool:
    """Do these columns hold texts with a letter in them, in every row but a few?"""
    for name in columns:
        values = [row.get(name) for row in rows]
        texts = [value for value in values if isinstance(value, str) and any(map(str.isalpha, value))]
        if 2 * len(texts) < len(values) or any(value is not None and not isinstance(value, str) for value in values):
            return False
    return True
