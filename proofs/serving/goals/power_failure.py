"""Files as a power failure would leave them: of what was written, only that which had been synced."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from proofs.serving.goals.system_calls import SystemCall


class Disk:
    """Some files, followed through the calls of those who write them."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Begin with files as they are now, all of it safe."""
        self._safe = {str(path): bytearray(path.read_bytes() if path.exists() else b"") for path in files}
        self._waiting: dict[str, list[SystemCall]] = defaultdict(list)  # written and not synced, by file
        self._promised: dict[int, int] = {}  # by thread that syncs: how much of what waits was there at the begin
        self.num_syncs = 0

    def follow(self, call: SystemCall) -> None:
        """Take note of a call; those that have nothing to do with the files change nothing."""
        if call.place not in self._safe:
            return
        is_sync, is_begin = call.name in ("fdatasync", "fsync"), call.moment == "begin"
        if is_sync and is_begin:
            self._promised[call.thread] = len(self._waiting[call.place])
        elif is_sync and call.has_worked:
            self._make_safe(call.place, self._promised.pop(call.thread))
        elif not is_sync and not is_begin and call.has_worked:
            self._waiting[call.place].append(call)

    def save(self, folder: Path) -> None:
        """Write the files, as they would be found after the failure, into a folder."""
        for path, content in self._safe.items():
            (folder / Path(path).name).write_bytes(content)

    def _make_safe(self, place: str, number: int) -> None:
        self.num_syncs += 1
        content = self._safe[place]
        for call in self._waiting[place][:number]:
            if call.name == "ftruncate":
                _resize(content, call.number)
            else:
                end = call.number + len(call.data)
                _resize(content, max(len(content), end))
                content[call.number : end] = call.data
        del self._waiting[place][:number]


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))
