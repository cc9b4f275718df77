"""Writing files so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from banyan.core.errors import FileError, SpaceError
from banyan.core.memory import without_collector

MAX_JSON_BYTES = 4 << 20  # of a file that describes something; as many empty lists would take 90 MB of memory
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHT = {errno.EACCES, errno.EPERM, errno.EROFS}


def as_write_error(error: OSError, path: Path) -> SpaceError:
    """Turn the system's word for a failed write into ours."""
    if error.errno in _NO_SPACE:
        free = shutil.disk_usage(nearest_existing(path)).free
        return SpaceError(
            f"cannot write {path}: the disk is full ({free / 1e6:.1f} MB free).",
            hint="free some space or choose another folder; what was complete before is still there",
        )
    if error.errno in _NO_RIGHT:
        return SpaceError(f"cannot write {path}: {error.strerror}.", hint="choose a folder you may write to")
    return SpaceError(f"cannot write {path}: {error.strerror or error}.")


def nearest_existing(path: Path) -> Path:
    """Return the path itself or its nearest parent that exists."""
    for candidate in (path, *path.absolute().parents):
        if candidate.exists():
            return candidate
    return Path("/")


def fsync_directory(directory: Path) -> None:
    """Make renames inside a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Replace a file's content in one step: temporary file, fsync, rename, fsync of the directory.

    Raises: SpaceError if the disk is full or the place cannot be written.
    """
    if path.is_dir():
        raise SpaceError(f"cannot write {path}: it is a directory.", hint="name a file in it")
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise as_write_error(error, path) from error


def atomic_write_text(path: Path, text: str) -> None:
    """Replace a text file's content in one step, as UTF-8."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: Path, value: Any) -> None:
    """Replace a JSON file's content in one step, readable and with a stable key order of its own."""
    atomic_write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def check_room(directory: Path, *, num_bytes: int) -> None:
    """Make sure that a folder takes files and has room for so many bytes: one is written, flushed, read and removed.

    Raises: SpaceError naming what is needed and what is there.
    """
    probe, content = directory / f".probe-{os.getpid()}", os.urandom(64)
    try:
        atomic_write_bytes(probe, content)
        is_kept = probe.read_bytes() == content
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise error if isinstance(error, SpaceError) else as_write_error(error, directory) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    if not is_kept:
        raise SpaceError(f"cannot trust {directory}: what was written there reads back differently.")
    if free < num_bytes:
        raise SpaceError(
            f"need {shown_bytes(num_bytes)} in {directory}, {shown_bytes(free)} free.",
            hint="free some space or choose another folder",
        )


def shown_bytes(num_bytes: float) -> str:
    """Return a size as a person reads it: 2.4 GB."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if num_bytes < 1000 or unit == "GB":
            return f"{num_bytes:.0f} {unit}" if unit == "bytes" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    raise AssertionError("unreachable")


def read_bytes(path: Path, *, max_bytes: int | None = None) -> bytes:
    """Read a whole file.

    Raises: FileError if it is missing, a directory, a named pipe (which may never end), too large, or unreadable.
    """
    if path.is_fifo() and not path.is_symlink():
        raise FileError(f"{path} is a pipe; a file is needed.")
    try:
        if max_bytes is not None and (size := path.stat().st_size) > max_bytes:
            raise FileError(f"{path} has {shown_bytes(size)}; at most {shown_bytes(max_bytes)} are expected there.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileError(f"{path} not found.", hint="check the path") from error
    except IsADirectoryError as error:
        raise FileError(f"{path} is a directory; a file is needed.") from error
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"cannot read {path}: {error.strerror or error}.") from error


def read_text(path: Path, *, max_bytes: int | None = None) -> str:
    """Read a UTF-8 text file; a leading byte-order mark is dropped.

    Raises: FileError if it is missing, too large, unreadable, or not UTF-8 (naming the first bad byte).
    """
    data = read_bytes(path, max_bytes=max_bytes)
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is not UTF-8 at byte {error.start} (0x{data[error.start]:02x}).",
            hint="convert it, for example with iconv -f LATIN1 -t UTF-8",
        ) from error


def read_json(path: Path, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Read a JSON file.

    Raises: FileError if it is missing, too large, or not JSON.
    """
    text = read_text(path, max_bytes=max_bytes)
    try:
        with without_collector():
            return json.loads(text)
    except json.JSONDecodeError as error:
        raise FileError(f"{path} is not valid JSON (line {error.lineno} column {error.colno}).") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, or 100,000 brackets
        raise FileError(f"{path} is not JSON that can be read ({type(error).__name__}).") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces."""
    digest = sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}.") from error
    return digest.hexdigest()


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Give a temporary directory that takes its final name only if the block ends without an error.

    An existing directory of that name is replaced.
    Raises: SpaceError if the disk is full or the place cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
        fsync_directory(temporary)
        _swap_in(temporary, path)
        fsync_directory(path.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, SpaceError | FileError):
            raise
        raise as_write_error(error, path) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _swap_in(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.rename(path)
        return
    old = path.with_name(f"{path.name}.old-{os.getpid()}")
    path.rename(old)
    temporary.rename(path)
    shutil.rmtree(old, ignore_errors=True)
