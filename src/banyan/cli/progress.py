"""Progress on a terminal: one bar per stage with time left; plain lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TerminalReporter:
    """Draws stages as progress bars on a console; without a terminal it prints a line when a stage ends.

    Use it as a context manager: a stage that ends in an error is left as it stands.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<28}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=console.quiet or not console.is_terminal,
        )
        self._current: TaskID | None = None
        self._name = ""
        self._began = 0.0
        self._note = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._current = None
        self.close()

    def stage(self, name: str) -> None:
        """Close the bar before and open one for this stage."""
        self._finish()
        self._name, self._note, self._began = name, "", time.monotonic()
        self._progress.start()
        self._current = self._progress.add_task(name, total=None, note="")

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        """Move the current bar."""
        if self._current is not None:
            self._note = note or self._note
            self._progress.update(self._current, completed=done, total=max(total, 1e-9), note=self._note)

    def line(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Close the last bar."""
        self._finish()
        self._progress.stop()

    def _finish(self) -> None:
        if self._current is None:
            return
        task = self._progress.tasks[self._progress.task_ids.index(self._current)]
        total = task.total or 1.0
        self._progress.update(self._current, completed=total, total=total)
        self._progress.stop_task(self._current)
        self._current = None
        if self._progress.disable:
            self.line(f"{self._name}: {time.monotonic() - self._began:.1f} s  {self._note}".rstrip())
