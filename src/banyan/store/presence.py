"""Whether any other process works with the database files of a folder: told by a lock that ends with its holder.

A process can be asked for by its number only where its host has the same name. A container gets a new name each time it
is made anew, and yet shares this folder, and its locks, with the one before.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Presence:
    """Holds a folder's lock for as long as a store is open; no file is made for it.

    Whoever comes while nobody else is there has it alone until `share`. Without a folder, or where it cannot be
    locked, nobody is ever alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._descriptor: int | None = None
        self.is_alone = False
        if folder is None:
            return
        with suppress(OSError):
            self._descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_alone = True

    def share(self) -> None:
        """Let others come; they are not alone from now on."""
        self.is_alone = False
        if self._descriptor is not None:
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        """Leave; closing twice does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
