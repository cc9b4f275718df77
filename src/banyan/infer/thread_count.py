"""How many threads the model's operations use: all where the cores are free, fewer while other programs want them.

Threads that wait for each other at the end of every operation are as slow as the slowest of them: one that shares its
core with another program holds up all. How long threads stood in line for a core tells.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch

_TASKS = Path("/proc/self/task")
_WINDOW = 0.5  # seconds of work between two looks
_CROWDED = 0.25  # of that time, in line: more in one thread, and fewer are used
_REST = 5.0  # seconds of work with fewer, before more are tried again; twice as long after each trial that failed
_LONGEST_REST = 60.0
_NANOSECONDS = 1e-9


def seconds_in_line() -> Mapping[int, float]:
    """Return how long the calling thread, and each that no Python runs in, has stood in line for a core by now.

    Empty where the system does not tell. Units: seconds since the thread began.
    """
    python = {thread.native_id for thread in threading.enumerate()} - {threading.get_native_id()}
    found: dict[int, float] = {}
    with suppress(OSError):
        for name in os.listdir(_TASKS):
            if int(name) not in python:
                with suppress(OSError, ValueError, IndexError):
                    found[int(name)] = int((_TASKS / name / "schedstat").read_text().split()[1]) * _NANOSECONDS
    return found


class ThreadCount:
    """Chooses between two rounds of the thread that asks, and for that thread.

    Half as many while one of them stands in line for long, and twice as many again after a rest, which grows each time
    that this turns out to be too early. All are used always where their number is no power of two: only halves of one
    divide what a pass computes between two tokens, so that no bit depends on them.
    """

    def __init__(
        self,
        *,
        most: int,
        in_line: Callable[[], Mapping[int, float]] = seconds_in_line,
        use: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        self._most = self._used = most
        self._may_change = most > 1 and most & (most - 1) == 0
        self._in_line, self._use = in_line, use
        self._before = in_line()
        self._worked = 0.0  # seconds, since the last look
        self._since = 0.0  # seconds of work, since the number changed
        self._rest = _REST  # seconds of work with fewer, before more are tried again
        self._is_trial = False  # whether the last change was to more
        use(most)  # a thread that is new takes the number that another one has set

    def note(self, seconds: float) -> None:
        """Hear how long a round took, and choose anew now and then."""
        self._worked += seconds
        if self._worked < _WINDOW or not self._may_change:
            return
        is_crowded = self._longest_wait() > _CROWDED * self._worked
        self._since += self._worked
        self._worked = 0.0
        if is_crowded and self._used > 1:
            has_failed = self._is_trial and self._since < _REST
            self._rest = min(_LONGEST_REST, 2 * self._rest) if has_failed else _REST
            self._change(self._used // 2)
        elif self._used < self._most and self._since >= self._rest:
            self._change(min(2 * self._used, self._most))

    def _longest_wait(self) -> float:
        before, self._before = self._before, self._in_line()
        return max((seconds - before.get(task, seconds) for task, seconds in self._before.items()), default=0.0)

    def _change(self, number: int) -> None:
        self._is_trial = number > self._used
        self._used, self._since = number, 0.0
        self._use(number)
