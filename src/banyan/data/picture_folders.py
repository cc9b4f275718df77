"""Folders of pictures; a caption comes from a table, from a text file beside the picture, or from the folder's name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from banyan.core.errors import BanyanError, DataError, FileError, InputError
from banyan.core.types import Image, Row
from banyan.data.formats import read_json, read_jsonl
from banyan.data.opening import read_whole, read_whole_text, suffix_of
from banyan.data.tables import read_csv, read_tsv
from banyan.tokenizers.pictures import image_from_bytes

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_path", "img", "path", "picture", "photo")
CAPTION_COLUMNS = ("text", "caption", "captions", "description", "prompt", "title", "label_name", "label", "name")

_FIRST_ROWS = 20  # of a table, by which its columns are known
_TABLES: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".txt": read_csv,  # captions.txt as Flickr8k writes it
}


def list_pictures(folder: Path) -> list[Path]:
    """Return every picture below a folder, hidden ones left out, in the order of their paths."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    visible = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


def read_pictures(folder: Path) -> Iterator[Row]:
    """Yield every picture of a folder with its caption: {"image": {"bytes", "path"}, "text"}.

    The files are not decoded yet, and one that is missing or empty has no bytes: a bad one costs a training run a row
    and not its beginning.
    """
    for picture, caption in list_captioned(folder):
        yield {"image": {"bytes": _content_of(picture), "path": str(picture)}, "text": caption}


def _content_of(picture: Path) -> bytes:
    if picture.suffix.lower() not in PICTURE_SUFFIXES:  # a table may name anything, a device for example
        return b""
    try:
        return read_whole(picture)
    except (DataError, FileError):
        return b""


def list_captioned(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the caption of every picture of a folder, unopened; a table may name some that are missing.

    Those that a table does not name come last, with a blank caption, where they lie among others that it names.
    """
    table = find_captions(folder)
    if table is None:
        yield from _caption_by_place(folder)
        return
    named: set[Path] = set()
    for picture, caption in read_captions(table, folder):
        named.add(picture)
        yield picture, caption
    places = {picture.parent for picture in named}
    yield from ((other, "") for other in list_pictures(folder) if other.parent in places and other not in named)


def read_picture_file(path: Path) -> Image:
    """Read one picture.

    Raises: DataError naming the file if it is no picture.
    """
    try:
        return image_from_bytes(read_whole(path))
    except InputError as error:
        raise DataError(f"{path} is not a picture that can be read.", hint="delete it or save it again") from error


def _caption_by_place(folder: Path) -> Iterator[tuple[Path, str]]:
    for picture in list_pictures(folder):
        beside = picture.with_suffix(".txt")
        yield picture, _text_of(beside) if beside.is_file() else words_of(picture.parent.resolve().name)


def _text_of(file: Path) -> str:
    return read_whole_text(file).strip() if file.stat().st_size else ""


def words_of(name: str) -> str:
    """Return a folder's name as words: red_circles → red circles."""
    return " ".join(name.replace("_", " ").replace("-", " ").split())


def find_captions(folder: Path) -> Path | None:
    """Return the table in a folder that gives its pictures their captions, if there is one."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and suffix_of(path) in _TABLES and not path.name.startswith(".") and _is_captions(path):
            return path
    return None


def _is_captions(path: Path) -> bool:
    try:
        return _columns_of(path, path.parent) is not None
    except BanyanError:  # some other file that lies among the pictures
        return False


def _columns_of(table: Path, folder: Path) -> tuple[str, str] | None:
    """Return which columns hold the file's name and the caption: the first rows tell, for pictures may be missing."""
    rows = islice(_TABLES[suffix_of(table)](table), _FIRST_ROWS)
    found = (caption_columns(row, folder) for row in rows)
    return next((columns for columns in found if columns is not None), None)


def caption_columns(row: Row, folder: Path) -> tuple[str, str] | None:
    """Return which columns of a captions table hold the file's name and the caption, if it is such a table."""
    names = {str(name).lower(): name for name in row}
    files = [names[known] for known in FILE_COLUMNS if known in names] or list(row)
    file = next((name for name in files if _find_picture(row[name], folder)), None)
    others = [name for name in row if name != file and isinstance(row[name], str | list)]
    known = (names[known] for known in CAPTION_COLUMNS if names.get(known) in others)
    caption = next(known, others[0] if others else None)
    return (file, caption) if file is not None and caption is not None else None


def _find_picture(name: object, folder: Path) -> Path | None:
    if not isinstance(name, str) or Path(name).suffix.lower() not in PICTURE_SUFFIXES:
        return None
    candidates = (folder / name, folder / "images" / name)
    return next((path for path in candidates if path.is_file()), None)


def read_captions(table: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each picture a captions table names, also one that is missing, with its caption; of several, each one.

    Raises: DataError if none of the first rows names a picture that is there.
    """
    columns = _columns_of(table, folder)
    if columns is None:
        raise DataError(f"{table} names no picture that is in {folder}.", hint="put the pictures there")
    file, said = columns
    for row in _TABLES[suffix_of(table)](table):
        picture = _find_picture(row.get(file), folder) or folder / str(row.get(file))
        for caption in _captions_in(row.get(said)):
            yield picture, caption


def _captions_in(value: object) -> list[str]:
    """Return what a table says of a picture; where that is nothing a blank caption, which tasks count as unusable."""
    captions = value if isinstance(value, list) else [value]
    return ["" if caption is None else str(caption) for caption in captions] or [""]
