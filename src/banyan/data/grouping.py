"""Which of the files somebody names belong together: splits of one data set, and the two sides of parallel text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from banyan.data.languages import language_code
from banyan.data.opening import COMPRESSIONS, check_readable
from banyan.data.picture_folders import list_pictures
from banyan.data.sources import detect_format, list_files

_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing", "heldout"),
}
_SPLIT_OF_WORD = {word: split for split, words in _SPLIT_WORDS.items() for word in words}
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceGroup:
    """One data set: where its training rows lie, and the other splits if they have files of their own."""

    train: Path
    validation: Path | None = None
    test: Path | None = None


def group_paths(paths: Iterable[Path]) -> tuple[SourceGroup, ...]:
    """Return the data sets that files and folders make up, in the order they were named.

    train.csv, dev.csv and test.csv are one data set; so are corpus.en and corpus.de, written corpus.{en,de}. A folder
    of texts or pictures is one data set, any other folder stands for the tables in it.
    Raises: FileError for a path that cannot be read.
    """
    expanded = [path for given in paths for path in _expand(given)]
    return _join_splits(_join_languages(list(dict.fromkeys(expanded))))


def _expand(path: Path) -> list[Path]:
    if "{" in path.name and not path.exists():
        return [path]
    check_readable(path)
    if not path.is_dir():
        return [path]
    folders = [entry for entry in sorted(path.iterdir()) if entry.is_dir() and split_of(entry)]
    if len(folders) > 1 and all(list_pictures(folder) for folder in folders):
        return folders
    if sides := _parallel_files(path):
        return sides
    if detect_format(path) == "pictures":
        return [path]
    files = [file for file in list_files(path) if file.stat().st_size]
    tables = [file for file in files if detect_format(file) != "text"]
    are_splits = len(files) > 1 and all(map(split_of, files))
    return tables or (files if are_splits else [path])


def _parallel_files(folder: Path) -> list[Path]:
    """Return the files of a folder that holds mostly pairs of languages, else nothing."""
    files = [entry for entry in sorted(folder.iterdir()) if entry.is_file() and not entry.name.startswith(".")]
    sides = [file for file in files if _language_part(file)]
    num_pairs = len(sides) - len(_join_languages(sides))
    return sides if 4 * num_pairs > len(files) else []


def split_of(path: Path) -> str | None:
    """Return which split a file's name speaks of, if any: reviews-dev.csv → validation."""
    found = {_SPLIT_OF_WORD[word] for word in _words(path) if word in _SPLIT_OF_WORD}
    return found.pop() if len(found) == 1 else None


def _words(path: Path) -> list[str]:
    return _WORD.findall(path.name.lower())


def _join_splits(paths: Sequence[Path]) -> tuple[SourceGroup, ...]:
    """Put paths together whose names differ in nothing but the split they name."""
    groups: dict[tuple[str, ...], dict[str, Path]] = {}
    for path in paths:
        split = split_of(path) or "train"
        rest = tuple(word for word in _words(path) if word not in _SPLIT_OF_WORD)
        key = (str(path.parent), *rest)
        if split in groups.get(key, {}):  # a second file for the same split is a data set of its own
            key = (str(path),)
        groups.setdefault(key, {})[split] = path
    return tuple(_as_group(splits) for splits in groups.values())


def _as_group(splits: dict[str, Path]) -> SourceGroup:
    if "train" not in splits:  # somebody gave only test.csv: that is what there is to learn from
        first = next(iter(splits))
        splits = {"train": splits.pop(first), **splits}
    return SourceGroup(**splits)


def _join_languages(paths: Sequence[Path]) -> list[Path]:
    """Replace two files whose names differ in their language alone by one path with both in braces."""
    result = list(paths)
    for first, second in combinations(paths, 2):
        joined = _in_braces(first, second)
        if joined is not None and first in result and second in result:
            result[result.index(first)] = joined
            result.remove(second)
    return result


def _language_part(path: Path) -> str | None:
    """Return the part between dots of a file's name that is a language: train.en.txt → en."""
    parts = [part for part in path.name.split(".") if f".{part}" not in COMPRESSIONS]
    return next((part for part in reversed(parts) if language_code(part)), None)


def _in_braces(first: Path, second: Path) -> Path | None:
    languages = _language_part(first), _language_part(second)
    if first.parent != second.parent or None in languages or languages[0] == languages[1]:
        return None
    patterns = [_with_part(path, language, "{}") for path, language in zip((first, second), languages, strict=True)]
    if patterns[0] != patterns[1]:
        return None
    return first.with_name(patterns[0].replace("{}", f"{{{languages[0]},{languages[1]}}}"))


def _with_part(path: Path, part: str | None, new: str) -> str:
    parts = path.name.split(".")
    place = len(parts) - 1 - parts[::-1].index(str(part))
    return ".".join([*parts[:place], new, *parts[place + 1 :]])
