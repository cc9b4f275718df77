"""Disks that are small, so that they can be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proofs.evidence import NotPossibleHereError

_PIECE_BYTES = 1 << 16  # written at once


@contextmanager
def small_disk(place: Path, *, num_bytes: int, options: str = "") -> Iterator[Path]:
    """Give a file system of its own, in memory.

    Raises: NotPossibleHereError without the right to mount one.
    """
    place.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes},mode=0777{options}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
        raise NotPossibleHereError("needs the right to mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def leave_free(disk: Path, num_bytes: int) -> Path:
    """Fill a disk until so much is free, and return the file that does it."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - num_bytes)))
    return ballast


def fill(disk: Path) -> Path:
    """Write until a disk has no room left, whoever else writes there meanwhile, and return the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(_PIECE_BYTES))
    return ballast
