"""Looking at a file or folder: its format, what it can teach, how much of it there is, and three examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from banyan.core.errors import DataError, InputError
from banyan.core.types import Image, Row
from banyan.data.kinds import MAX_LABELS, Guess, guess_kind
from banyan.data.languages import scripts_of
from banyan.data.picture_folders import list_captioned, read_picture_file
from banyan.data.sources import detect_format, read_rows
from banyan.tokenizers.pictures import image_from_bytes

NUM_EXAMPLES = 3
_SAMPLE_ROWS = 500
_SHOWN_CHARACTERS = 200
_CLOSED_COLUMNS = ("label", "label_name", "tags", "entities")
_ROLE_KEYS = {"role", "from"}
_LENGTH_SHARE = 0.9  # `usual_characters` covers this share of the rows


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceReport:
    """What a look at one file or folder has found."""

    path: Path
    format: str  # a name in FORMATS
    kind: str  # of task; a guess
    num_rows: int
    num_characters: int  # in the columns that matter
    usual_characters: int  # nine of ten rows are not longer
    columns: Mapping[str, str] = field(default_factory=dict)  # our column name → theirs, where they differ
    options: Mapping[str, Any] = field(default_factory=dict)  # further keys of the task in a recipe
    examples: tuple[Mapping[str, str], ...] = ()  # the columns that matter, shortened
    labels: tuple[str, ...] = ()  # the commonest first
    languages: tuple[str, ...] = ()  # codes where they are known, else the scripts of the text
    picture_size: int | None = None  # pixels, the longer side of the first picture
    notes: tuple[str, ...] = ()  # what somebody should look at


def describe_source(path: Path, *, format: str = "auto") -> SourceReport:
    """Look at a file, a folder, or two aligned files (corpus.{en,de}).

    Raises: FileError or DataError, in one line, if it cannot be read or is nothing that can be learned from.
    """
    name = detect_format(path) if format == "auto" else format
    if name == "pictures":
        return _describe_pictures(path)
    sample = list(islice(read_rows(path, format=name), _SAMPLE_ROWS))
    guess = guess_kind(sample)
    if guess is None:
        raise DataError(
            f"{path} has the columns {', '.join(sorted({str(key) for row in sample for key in row}))}; "
            "none of them can be recognised as something to learn.",
            hint="usual names are text, label, tokens, tags, question, context, answers, document, summary, messages",
        )
    tally = _Tally(guess)
    for row in read_rows(path, format=name):
        tally.add(row)
    return SourceReport(
        path=path,
        format=name,
        kind=guess.kind,
        num_rows=tally.num_rows,
        num_characters=sum(tally.lengths),
        usual_characters=_usual(tally.lengths),
        columns=guess.columns,
        options=guess.options,
        examples=tuple(_show(row, guess.shown) for row in _choose(sample, guess)),
        labels=tuple(label for label, _ in tally.labels.most_common()),
        languages=_languages(guess, sample),
        picture_size=_picture_size(path, sample[0], guess),
        notes=(*guess.notes, *tally.notes()),
    )


class _Tally:
    """Counts over all rows."""

    def __init__(self, guess: Guess) -> None:
        self.num_rows = 0
        self.lengths: list[int] = []
        self.labels: Counter[str] = Counter()
        self._guess = guess
        self._num_blank: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        self.num_rows += 1
        self.lengths.append(sum(map(len, _texts_in(row, self._guess))))
        for name in self._guess.shown:
            if row.get(name) is None or (isinstance(row[name], str) and not row[name].strip()):
                self._num_blank[name] += 1
        if len(self.labels) <= MAX_LABELS:
            self.labels.update(_labels_in(row, self._guess))

    def notes(self) -> Iterator[str]:
        optional = {"answers", "input"}
        for name, count in self._num_blank.items():
            if name.lower() not in optional:
                yield f"{count} of {self.num_rows} rows have nothing in {name!r}; fill or delete them before training"
        if len(self.labels) > MAX_LABELS:
            yield f"there are more than {MAX_LABELS} labels; is the right column the label?"
        rare = [label for label, count in self.labels.items() if count == 1]
        if rare and self._guess.kind == "classification":
            yield f"label {rare[0]!r} occurs only once; a label needs several examples"


def _labels_in(row: Row, guess: Guess) -> Iterator[str]:
    if guess.kind == "classification":
        ours = "label_name" if "label_name" in guess.shown else "label"
        value = row.get(guess.columns.get(ours, ours))
        if value not in (None, ""):
            yield str(value)
    elif guess.kind == "tagging":
        tags = row.get(guess.columns.get("tags", "tags"))
        entities = row.get(guess.columns.get("entities", "entities"))
        for tag in tags if isinstance(tags, list) else ():
            if isinstance(tag, str) and "-" in tag:
                yield tag.partition("-")[2]
        for entity in entities if isinstance(entities, list) and not isinstance(tags, list) else ():
            if isinstance(entity, dict):
                yield str(entity.get("label", entity.get("type")))
            elif isinstance(entity, list) and entity:
                yield str(entity[-1])


def _texts_in(row: Row, guess: Guess) -> Iterator[str]:
    """Yield the texts of a row that a model reads or writes, without labels and tags."""
    closed = {guess.columns.get(name, name) for name in _CLOSED_COLUMNS}
    return _strings(row.get(name) for name in guess.shown if name not in closed)


def _strings(values: Iterable[Any]) -> Iterator[str]:
    """Yield every string inside nested values."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _strings(value)
        elif isinstance(value, dict):
            yield from _strings(item for key, item in value.items() if key not in _ROLE_KEYS)


def _usual(lengths: Sequence[int]) -> int:
    return sorted(lengths)[int(_LENGTH_SHARE * (len(lengths) - 1))] if lengths else 0


def _languages(guess: Guess, sample: Sequence[Row]) -> tuple[str, ...]:
    named = [guess.options.get(name) for name in ("source_language", "target_language")]
    if all(named):
        return tuple(str(language) for language in named)
    return _script_languages(text[:2000] for row in sample[:100] for text in _texts_in(row, guess))


def _script_languages(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the scripts of texts, with the language in place of the script where it tells."""
    found = scripts_of(texts)
    languages = {"Han": "ja" if "Kana" in found else "zh", "Kana": "ja", "Hangul": "ko"}
    return tuple(dict.fromkeys(languages.get(script, script) for script in found))


def _choose(sample: Sequence[Row], guess: Guess) -> list[Row]:
    """Return three rows, with different labels where there are labels."""
    if guess.kind != "classification":
        return list(sample[:NUM_EXAMPLES])
    first_of_label: dict[tuple[str, ...], Row] = {}
    for row in sample:
        first_of_label.setdefault(tuple(_labels_in(row, guess)), row)
    chosen = list(first_of_label.values())[:NUM_EXAMPLES]
    return chosen + [row for row in sample if all(row is not other for other in chosen)][: NUM_EXAMPLES - len(chosen)]


def _picture_size(path: Path, row: Row, guess: Guess) -> int | None:
    if guess.kind != "image_generation":
        return None
    value = row.get(guess.columns.get("image", "image"))
    data = value.get("bytes") if isinstance(value, dict) else value
    try:
        image = data if isinstance(data, Image) else image_from_bytes(data or b"")
    except InputError as error:
        raise DataError(f"{path}: the picture of the first row cannot be read.") from error
    return max(image.width, image.height)


def _show(row: Row, names: Sequence[str]) -> dict[str, str]:
    return {name: shorten(row.get(name)) for name in names}


def shorten(value: Any) -> str:
    """Return a value as a short text on one line."""
    text = " ".join(_plain(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _plain(value: Any) -> str:
    """Return a value as a person would write it down: messages as `user: …`, lists without brackets."""
    if isinstance(value, Image):
        return f"picture, {value.width} × {value.height} pixels"
    if isinstance(value, bytes):
        return _plain_picture(value)
    if isinstance(value, list):
        gap = " " if all(isinstance(item, str) for item in value) else " | "
        return gap.join(map(_plain, value))
    if not isinstance(value, dict):
        return str(value)
    if isinstance(value.get("bytes"), bytes):
        return _plain_picture(value["bytes"])
    role, said = value.get("role", value.get("from")), value.get("content", value.get("value"))
    if role is not None and said is not None:
        return f"{role}: {_plain(said)}"
    return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())


def _plain_picture(data: bytes) -> str:
    try:
        return _plain(image_from_bytes(data))
    except InputError:
        return f"{len(data)} bytes"


def _describe_pictures(folder: Path) -> SourceReport:
    captioned = list(list_captioned(folder))
    if not captioned:
        raise DataError(f"{folder} holds no pictures.")
    if missing := [path.name for path, _ in captioned if not path.is_file()]:
        raise DataError(
            f"{len(missing)} of the {len(captioned)} pictures that captions name are not in {folder}: {missing[0]} …",
            hint="put them there, or take their captions out; training leaves out a few (data.max_bad_share)",
        )
    chosen = _spread(captioned, NUM_EXAMPLES)
    examples = tuple(
        {"image": f"{path.name}: {shorten(read_picture_file(path))}", "text": shorten(caption)}
        for path, caption in chosen
    )
    first = read_picture_file(captioned[0][0])
    captions = [caption for _, caption in captioned]
    notes = []
    if len(set(captions)) == 1:
        notes.append(f"every picture has the caption {captions[0]!r}; give captions.csv (file,text) for better ones")
    if num_blank := sum(not caption.strip() for caption in captions):
        notes.append(f"{num_blank} pictures have no caption; training leaves out a few (data.max_bad_share)")
    return SourceReport(
        path=folder,
        format="pictures",
        kind="image_generation",
        num_rows=len(captioned),
        num_characters=sum(map(len, captions)),
        usual_characters=_usual([len(caption) for caption in captions]),
        examples=examples,
        languages=_script_languages(captions),
        picture_size=max(first.width, first.height),
        notes=tuple(notes),
    )


def _spread(items: Sequence[tuple[Path, str]], num: int) -> list[tuple[Path, str]]:
    """Return a few items from all over a list."""
    if len(items) <= num:
        return list(items)
    return [items[index * (len(items) - 1) // (num - 1)] for index in range(num)]
