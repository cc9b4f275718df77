"""The folders of training runs, as far as they lie on this machine: found by the id of a run and by nothing else."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from banyan.core.errors import FileError
from banyan.core.files import read_json
from banyan.core.run_directory import METRICS_FILE, RUN_FILE
from banyan.serve.loss_file import Losses, LossFile

MAX_REMEMBERED = 16  # runs whose losses are kept in memory, so that only new lines need be read


class RunFolders:
    """Reads what runs wrote. Safe to call from many threads at once.

    A folder is named by the database, never by a client, and is opened only if the file in it says that it belongs to
    that very run: a later run of the same name takes the folder over.
    """

    def __init__(self, *, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max_remembered = max_remembered
        self._lock = threading.Lock()
        self._losses: OrderedDict[tuple[str, str], LossFile] = OrderedDict()

    def losses(self, run_id: str, folder: Path) -> Losses:
        """Return how the losses of a run went so far."""
        with self._lock:  # one file at a time; what was read before is not read again
            key = (run_id, str(folder))
            file = self._losses.setdefault(key, LossFile(folder / METRICS_FILE))
            self._losses.move_to_end(key)
            if len(self._losses) > self._max_remembered:
                self._losses.popitem(last=False)
            return file.read()


def folder_of(run_id: str, directory: str) -> Path | None:
    """Return the folder of a run; None if it is not here, or is another run's by now."""
    if not directory:
        return None
    folder = Path(directory)
    try:
        found = read_json(folder / RUN_FILE, max_bytes=4096)
    except FileError:
        return None
    return folder if isinstance(found, dict) and found.get("run_id") == run_id else None
