"""The door of the data room: any file or folder somebody has → rows, or documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path, PurePosixPath

from banyan.core.errors import DataError, FileError
from banyan.core.registry import Registry
from banyan.core.types import Document, Row
from banyan.data.formats import read_conll, read_json, read_jsonl, read_parquet, read_text_file
from banyan.data.languages import language_code
from banyan.data.opening import check_readable, read_lines, suffix_of
from banyan.data.picture_arrays import idx_files, is_idx, read_idx, read_npz
from banyan.data.picture_folders import PICTURE_SUFFIXES, list_pictures, read_pictures
from banyan.data.tables import read_csv, read_tsv

_TEXT = ".txt .text .md .markdown .rst .py .js .ts .c .h .cpp .java .go .rs .rb .sh .sql .html .xml .tex .org .log"
TEXT_SUFFIXES = frozenset(_TEXT.split())
TEXT_COLUMNS = ("text", "content", "document", "body", "article", "sentence")

PIECE_CHARACTERS = 2000  # a few training rows' worth

_FORMAT_OF_SUFFIX = {
    **dict.fromkeys(TEXT_SUFFIXES, "text"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".conll", ".bio", ".iob", ".iob2", ".bioes", ".bmes", ".conllu"), "conll"),
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".npz": "npz",
}
_TAG = re.compile(r"O|[BIESMLU]-\S+")
_PAIR = re.compile(r"\{([^{},]+),([^{},]+)\}")  # corpus.{en,de}: two files, line by line


def read_parallel(path: Path) -> Iterator[Row]:
    """Yield the aligned lines of two files, named together as corpus.{en,de}, as {"translation": {"en", "de"}}.

    Raises: DataError if one file has more lines than the other.
    """
    source, target = paired_files(path)
    names = pair_languages(path)
    for number, pair in enumerate(zip_longest(read_lines(source), read_lines(target)), 1):
        if None in pair:
            longer, shorter = (source, target) if pair[1] is None else (target, source)
            raise DataError(
                f"{longer} goes on at line {number} where {shorter} has ended; line N of one must match the other."
            )
        if any(text.strip() for text in pair):
            yield {"translation": dict(zip(names, pair, strict=True))}


def paired_files(path: Path) -> tuple[Path, Path]:
    """Return the two files that corpus.{en,de} stands for."""
    found = _PAIR.search(str(path))
    if found is None:
        raise FileError(f"{path} does not name two files.", hint="write both endings in braces: corpus.{en,de}")
    first, second = (Path(str(path).replace(found.group(0), part)) for part in found.groups())
    return first, second


def pair_languages(path: Path) -> tuple[str, str]:
    """Return the names of the two sides of corpus.{en,de}: language codes where the name holds one."""
    found = _PAIR.search(str(path))
    sides = found.groups() if found else ("source", "target")
    first, second = (_language_in(side) or side for side in sides)
    return (first, second) if first != second else ("source", "target")


def _language_in(name: str) -> str | None:
    words = re.split(r"[./\\ _-]+", name)
    return next((code for word in reversed(words) if (code := language_code(word))), None)


def read_folder(path: Path) -> Iterator[Row]:
    """Yield the rows of every data file below a folder, in the order of their paths; empty files are passed over."""
    for file in list_files(path):
        if file.stat().st_size:
            yield from FORMATS[detect_format(file)](file)


def read_text_pieces(path: Path) -> Iterator[Row]:
    """Yield long texts in pieces of at most `PIECE_CHARACTERS`, cut at blank lines where there are some.

    So that a part of one long text can be held out for validation.
    """
    for document in read_documents(path):
        yield from ({"text": piece} for piece in cut_text(document.text))


def cut_text(text: str, *, piece_characters: int = PIECE_CHARACTERS) -> Iterator[str]:
    """Cut a text into pieces of at most `piece_characters`, at a blank line, a line's end or a space if possible.

    The pieces in a row are the text, without the white space between them.
    """
    text = text.strip()
    while len(text) > piece_characters:
        ends = (text.rfind(gap, piece_characters // 2, piece_characters) for gap in ("\n\n", "\n", " "))
        end = next((end for end in ends if end > 0), piece_characters)
        yield text[:end].rstrip()
        text = text[end:].lstrip("\n ")
    if text:
        yield text


def list_files(folder: Path) -> list[Path]:
    """Return every file below a folder whose ending is known, hidden ones left out, in the order of their paths."""
    found = (path for path in folder.rglob("*") if suffix_of(path) in _FORMAT_OF_SUFFIX and path.is_file())
    visible = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


_SPLIT_READERS: Mapping[str, Callable[..., Iterator[Row]]] = {"idx": read_idx, "npz": read_npz}

FORMATS: Registry[Callable[[Path], Iterator[Row]]] = Registry("file format")
FORMATS.add("text", read_text_file)
FORMATS.add("jsonl", read_jsonl)
FORMATS.add("json", read_json)
FORMATS.add("csv", read_csv)
FORMATS.add("tsv", read_tsv)
FORMATS.add("parquet", read_parquet)
FORMATS.add("conll", read_conll)
FORMATS.add("parallel", read_parallel)
FORMATS.add("pictures", read_pictures)
FORMATS.add("idx", read_idx)
FORMATS.add("npz", read_npz)
FORMATS.add("folder", read_folder)
FORMATS.add("text_pieces", read_text_pieces)


def detect_format(path: Path) -> str:
    """Return the name in FORMATS of a file's or folder's format, by its ending or else by its first lines.

    Raises: FileError if it cannot be read or is of no known kind.
    """
    if _PAIR.search(str(path)) and not path.exists():
        return "parallel"
    check_readable(path)
    if path.is_dir():
        return _detect_folder(path)
    if is_idx(path):
        return "idx"
    found = _FORMAT_OF_SUFFIX.get(suffix_of(path))
    if suffix_of(path) == ".txt" and looks_like_conll(list(islice(read_lines(path), 200))):
        return "conll"
    return found or _detect_by_content(path)


def _detect_folder(folder: Path) -> str:
    if idx_files(folder):
        return "idx"
    pictures = len(list_pictures(folder))
    files = [path for path in list_files(folder) if path.suffix.lower() != ".txt" or not pictures]
    if not pictures and not files:
        raise FileError(
            f"{folder} holds no file of a known kind.",
            hint="known: " + " ".join(sorted({*_FORMAT_OF_SUFFIX, *PICTURE_SUFFIXES})) + ", and IDX files",
        )
    return "pictures" if pictures > len(files) else "folder"


def _detect_by_content(path: Path) -> str:
    first = next((line.strip() for line in read_lines(path) if line.strip()), "")
    if first.startswith("{") and first.endswith("}"):
        return "jsonl"
    return "json" if first[:1] in {"{", "["} else "text"


def looks_like_conll(lines: Sequence[str]) -> bool:
    """Tell CoNLL lines (token, …, tag) from prose."""
    filled = [line.split() for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-"))]
    return len(filled) > 1 and all(len(columns) > 1 and _TAG.fullmatch(columns[-1]) for columns in filled)


def read_rows(path: Path | str, *, format: str = "auto", split: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file, a folder, or two aligned files (corpus.{en,de}).

    `split` (train, validation, test) says which part is meant of files that hold several: npz, folders of IDX files.
    Raises: FileError if it cannot be read; DataError naming the line that is wrong, or if there are no rows at all;
        UnknownNameError for a format nobody knows.
    """
    path = Path(path)
    has_rows = False
    name = detect_format(path) if format == "auto" else format
    for row in _SPLIT_READERS[name](path, split=split) if name in _SPLIT_READERS else FORMATS[name](path):
        has_rows = True
        yield row
    if not has_rows:
        raise DataError(f"{path} holds no rows.", hint="give a file that holds some data")


def read_documents(path: Path | str, *, format: str = "auto", column: str | None = None) -> Iterator[Document]:
    """Yield the texts of a file or folder: a whole text file each, or one column of each row.

    `column` names the text's column where it has no usual name.
    Raises: as `read_rows`; DataError if a row has no text.
    """
    path = Path(path)
    name = detect_format(path) if format == "auto" else format
    files = [file for file in list_files(path) if file.stat().st_size] if name == "folder" else [path]
    for file in files:
        inner = detect_format(file) if name == "folder" else name
        place = PurePosixPath(file.relative_to(path).as_posix() if file != path else path.name)
        for number, row in enumerate(read_rows(file, format=inner)):
            identity = str(place) if inner == "text" else f"{place}:{number}"
            yield Document(
                text=_text_of(row, column, where=f"{file} row {number}"), source=str(path), identity=identity
            )
    if not files:
        raise DataError(f"{path} holds no documents.", hint="give a file or folder that holds some text")


def _text_of(row: Row, column: str | None, *, where: str) -> str:
    names = (column,) if column else TEXT_COLUMNS
    text: str | None = next((row[name] for name in names if isinstance(row.get(name), str)), None)
    if text is None:
        raise DataError(
            f"{where} has no text in {' or '.join(names)}; its columns: {', '.join(map(str, row))}.",
            hint="name the column that holds the text, for example columns: {text: my_column}",
        )
    return text
