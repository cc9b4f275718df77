"""Signs of life: a file per rank, and who has not touched theirs for too long."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from banyan.core.errors import FileError
from banyan.core.files import read_json

GRACE_SECONDS = 30.0  # of silence, beside three median steps
STUCK_SECONDS = 600.0  # inside one step, which may compile; or 20 median steps
_REMEMBERED_STEPS = 64
_PULSE_SECONDS = 1.0


class Heartbeat:
    """A thread that shows once a second that this process goes on, until a step takes far longer than steps do.

    A process that was stopped or has died falls silent at once. The time is the system's monotonic one, which all
    processes of a machine share and no change of the clock moves.
    """

    def __init__(self, directory: Path | None, *, rank: int) -> None:
        self._path = None if directory is None else directory / f"rank-{rank}.json"
        self._durations: deque[float] = deque(maxlen=_REMEMBERED_STEPS)
        self._step_began: float | None = None
        if self._path is not None:
            self._touch(self._path)
            threading.Thread(target=self._pulse, args=(self._path,), daemon=True, name="heartbeat").start()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time a block as one step."""
        self._step_began = began = time.monotonic()
        try:
            yield
        finally:
            self._step_began = None
        self._durations.append(time.monotonic() - began)

    @property
    def is_stuck(self) -> bool:
        """Whether the step that goes on takes far longer than the steps before it."""
        began = self._step_began
        return began is not None and time.monotonic() - began > max(STUCK_SECONDS, 20 * self._median_step())

    def _median_step(self) -> float:
        durations = list(self._durations)
        return statistics.median(durations) if durations else 0.0

    def _touch(self, path: Path) -> None:
        limit = 3 * self._median_step() + GRACE_SECONDS
        content = {"pid": os.getpid(), "seen_at": time.monotonic(), "limit_seconds": round(limit, 3)}
        temporary = path.with_suffix(f".tmp-{os.getpid()}")
        temporary.write_text(json.dumps(content), "utf-8")
        temporary.replace(path)

    def _pulse(self, path: Path) -> None:
        while not self.is_stuck and path.parent.is_dir():
            self._touch(path)
            time.sleep(_PULSE_SECONDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class SilentRank:
    """A process that has not shown a sign of life for longer than it may."""

    rank: int
    pid: int
    seconds: float


def silent_ranks(directory: Path) -> list[SilentRank]:
    """Return the ranks of a folder of heartbeats that have been silent for too long."""
    found = []
    for path in sorted(directory.glob("rank-*.json")):
        try:
            content = read_json(path)
        except FileError:  # removed for a restart
            continue
        seconds = time.monotonic() - content["seen_at"]
        if seconds > content["limit_seconds"]:
            found.append(SilentRank(rank=int(path.stem.partition("-")[2]), pid=content["pid"], seconds=seconds))
    return found
