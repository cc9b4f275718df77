"""The losses of a run as its metrics.jsonl grows: read once, later only the new lines, and thinned to a few hundred."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

MAX_POINTS = 500  # of each curve
NEWEST_FACTS = ("step", "loss", "learning_rate", "grad_norm", "tokens_per_second", "seconds")


@dataclass(slots=True)
class _Means:
    """What several steps in a row add up to."""

    step: int = 0  # the last of them
    sums: dict[str, list[float]] = field(default_factory=dict)  # total and count, by name

    def add(self, other: _Means) -> None:
        """Take in the steps that follow."""
        self.step = max(self.step, other.step)
        for name, (total, count) in other.sums.items():
            mine = self.sums.setdefault(name, [0.0, 0])
            mine[0] += total
            mine[1] += count

    def mean(self, name: str) -> float | None:
        """Return the mean of one name; None if it did not occur."""
        total, count = self.sums.get(name, (0.0, 0))
        return total / count if count else None


class ThinnedCurves:
    """Curves over the same steps, in at most `max_points`; each point is the mean of the steps it stands for.

    A point is as many steps wide as the smallest power of two that makes the points few enough; what is kept does not
    depend on how often somebody looked.
    """

    def __init__(self, *, max_points: int = MAX_POINTS) -> None:
        self._max_points = max_points
        self._width = 1
        self._points: dict[int, _Means] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take in one step."""
        one = _Means(step=step, sums={name: [value, 1] for name, value in values.items()})
        self._points.setdefault(step // self._width, _Means()).add(one)
        while len(self._points) > self._max_points:
            self._halve()

    @property
    def steps(self) -> list[int]:
        """The last step of each point."""
        return [point.step for _, point in sorted(self._points.items())]

    @property
    def curves(self) -> dict[str, list[float | None]]:
        """The curves by name, a value for each point; None where nothing was measured."""
        points = [point for _, point in sorted(self._points.items())]
        names = dict.fromkeys(name for point in points for name in point.sums)
        return {name: [point.mean(name) for point in points] for name in names}

    def _halve(self) -> None:
        self._width *= 2
        wider: dict[int, _Means] = {}
        for place, point in sorted(self._points.items()):
            wider.setdefault(place // 2, _Means()).add(point)
        self._points = wider


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """How the losses of a run went so far."""

    steps: list[int] = field(default_factory=list)
    loss: list[float | None] = field(default_factory=list)  # balanced over the tasks
    task_losses: dict[str, list[float | None]] = field(default_factory=dict)  # nats
    newest: dict[str, float | None] = field(default_factory=dict)  # NEWEST_FACTS of the newest line
    heard_at: float | None = None  # seconds since 1970, when the file was last written; None: there is none


class LossFile:
    """Reads one metrics.jsonl again and again while a run writes it. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start_again(inode=0)

    def _start_again(self, *, inode: int) -> None:
        self._inode, self._offset = inode, 0
        self._curves = ThinnedCurves()
        self._newest: dict[str, float | None] = {}

    def read(self) -> Losses:
        """Return what is known now; a file that was rewritten, as a run that goes back does, is read anew."""
        heard_at: float | None = None
        with suppress(OSError), self._path.open("rb") as file:
            heard_at = self._read_on(file)
        curves = self._curves.curves
        loss = curves.pop("", [])
        return Losses(
            steps=self._curves.steps, loss=loss, task_losses=curves, newest=dict(self._newest), heard_at=heard_at
        )

    def _read_on(self, file: BinaryIO) -> float:
        facts = self._path.stat()
        if facts.st_ino != self._inode or facts.st_size < self._offset:
            self._start_again(inode=facts.st_ino)
        file.seek(self._offset)
        for line in file:
            if not line.endswith(b"\n"):  # still being written
                break
            self._offset += len(line)
            self._take(line)
        return facts.st_mtime

    def _take(self, line: bytes) -> None:
        try:
            read = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(read, dict) or type(step := read.get("step")) is not int or step < 0:
            return
        losses = read.get("task_losses")
        named = {"": read.get("loss"), **(losses if isinstance(losses, dict) else {})}
        self._curves.add(step, {name: float(value) for name, value in named.items() if is_finite(value)})
        self._newest = {name: read[name] if is_finite(read.get(name)) else None for name in NEWEST_FACTS}


def is_finite(value: Any) -> bool:
    """Whether a value is a number that JSON can say."""
    return type(value) in (int, float) and math.isfinite(value)
