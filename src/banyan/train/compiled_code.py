"""Compiled code that is kept between runs, and what is left of it where a compiler was killed."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from pathlib import Path

_ELF, _ELF_64 = b"\x7fELF", 2
_HEADER_BYTES = 64
_SETTLED_SECONDS = 10.0  # what is younger may still be being written, by another run


def remove_broken_libraries(directory: Path) -> int:
    """Remove libraries that end before they should, and return how many; loading one fails, and nothing makes it anew.

    Source: System V ABI, ELF header: where the table of sections begins, and how long it is. It is the last thing in a
    file, so one that ends before it was cut short.
    """
    num_removed = 0
    for path in directory.rglob("*.so"):
        with suppress(OSError):  # another run removed it first
            if time.time() - path.stat().st_mtime > _SETTLED_SECONDS and _is_cut_short(path):
                path.unlink()
                num_removed += 1
    return num_removed


def _is_cut_short(path: Path) -> bool:
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return True
    if not header.startswith(_ELF) or header[4] != _ELF_64:
        return False
    offset, entry, count = struct.unpack_from(f"{'<' if header[5] == 1 else '>'}40xQ10xHH", header)
    return bool(size < offset + entry * count)
