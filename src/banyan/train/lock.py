"""One trainer per run directory."""

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
def run_lock(run_directory: Path) -> Iterator[None]:
    """Hold a run directory for as long as the block lasts; the system lets go of it even after a SIGKILL.

    Raises: BusyError naming the process that holds it; SpaceError if the directory cannot be written.
    """
    path = run_directory / LOCK_FILE
    try:
        run_directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise as_write_error(error, run_directory) from error
    try:
        _take(descriptor, run_directory)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, run_directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode("ascii", errors="replace").strip() or "unknown"
        raise BusyError(
            f"run {run_directory} is locked by pid {holder}; one run directory takes one trainer.",
            hint="wait until it ends, or give this run another name",
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
