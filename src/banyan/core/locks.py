"""One writer per folder: a lock that the system gives back even if its holder is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from banyan.core.errors import BusyError
from banyan.core.files import as_write_error

LOCK_FILE = ".lock"


@contextmanager
def hold_directory(directory: Path) -> Iterator[None]:
    """Keep every other process out of a folder while the block runs; the folder is made if need be.

    Raises: BusyError naming the process that holds it; SpaceError if the place cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise as_write_error(error, directory) from error
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def is_held(directory: Path) -> bool:
    """Return whether a process keeps the folder to itself; nothing is changed or made."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", errors="replace").strip() or "unknown"
        raise BusyError(
            f"{directory} is locked by pid {holder}; one process at a time may write there.",
            hint="wait until it ends, or choose another folder or name",
        ) from error
    except OSError as error:  # a file system without locks
        raise as_write_error(error, directory) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
