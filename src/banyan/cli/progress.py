"""Progress on a terminal: one bar per stage with time left; plain lines where there is no terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TerminalReporter:
    """Draws stages as progress bars on a console; without a terminal it prints a line when a stage ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
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

    def stage(self, name: str) -> None:
        """Close the bar before and open one for this stage."""
        self._finish()
        self._name, self._note, self._began = name, "", time.monotonic()
        if self._current is None and not self._progress.disable:
            self._progress.start()
        self._current = self._progress.add_task(name, total=None, note="")

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        """Move the current bar."""
        if self._current is not None:
            self._note = note or self._note
            self._progress.update(self._current, completed=done, total=max(total, 1e-9), note=self._note)

    def line(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False)

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
        if self._progress.disable:
            self._console.print(f"{self._name}: {time.monotonic() - self._began:.1f} s  {self._note}", markup=False)
