"""A file of answers, one JSON object a line, that is written in pieces and gone on with after a stop."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from banyan.core.errors import BusyError, DataError
from banyan.core.files import as_write_error
from banyan.core.types import Row


class AnswerFile:
    """Lines that answer the rows of one input in their order. Each says what it answers and by whom.

    `marks` is what every line of one job has in common, such as the task and the model.
    """

    def __init__(self, path: Path, file: FileIO, *, marks: Mapping[str, str]) -> None:
        self._path = path
        self._file = file
        self._marks = dict(marks)

    def keep_whole_lines(self, rows: Sequence[Row]) -> int:
        """Cut off a half-written last line, and return how many rows the file already answers.

        Raises: DataError if a line answers another row, or with other marks.
        """
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        for number, line in enumerate(lines):
            self._check(line, rows, number)
        self._file.truncate(len(whole))
        return len(lines)

    def count(self) -> int:
        """Return how many whole lines the file has, those of an interrupted `append` included."""
        return self._path.read_bytes().count(b"\n")

    def append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Add lines at the end; when this returns they are on disk.

        Raises: SpaceError.
        """
        try:
            waiting = memoryview(b"".join(_line({**self._marks, **line}) for line in lines))
            while waiting:  # an unbuffered file may take less than it is given
                waiting = waiting[self._file.write(waiting) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise as_write_error(error, self._path) from error

    def _check(self, line: bytes, rows: Sequence[Row], number: int) -> None:
        found = _read_line(line)
        for name, value in self._marks.items():
            if found is not None and found.get(name, value) != value:
                raise DataError(
                    f"{self._path}:{number + 1} was answered with {name} {found[name]!r}, not {value!r}.",
                    hint="give another --output, or remove it",
                )
        if found is None or number >= len(rows) or not _is_same(found.get("input"), plain_row(rows[number])):
            raise DataError(
                f"{self._path}:{number + 1} does not answer row {number + 1} of the input; it belongs to another file.",
                hint="give another --output, or remove it",
            )


@contextmanager
def open_answer_file(path: Path, *, marks: Mapping[str, str]) -> Iterator[AnswerFile]:
    """Open a file of answers, new or begun, for this process alone.

    Raises: BusyError if another process writes it; SpaceError if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)  # a buffer that a full disk refused would be tried again when closed
    except OSError as error:
        raise as_write_error(error, path) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"{path} is being written by another process.", hint="wait until it ends") from error
        except OSError as error:  # a file system without locks
            raise as_write_error(error, path) from error
        yield AnswerFile(path, file, marks=marks)


def plain_row(row: Row) -> Any:
    """Return a row as it reads back from JSON: what JSON lacks is named, not copied."""
    return json.loads(json.dumps(row, default=lambda value: f"<{type(value).__name__}>"))


def _line(value: Mapping[str, Any]) -> bytes:
    # A lone surrogate, which UTF-8 cannot hold, stays the escape that it was in the input.
    return (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _read_line(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_same(one: Any, other: Any) -> bool:
    # As text: a NaN is not equal to itself.
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
