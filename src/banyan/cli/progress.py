"""Progress on a terminal: one bar per stage with time left; plain lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


class _Note(ProgressColumn):
    """What a stage has to say; the one column that is cut where the terminal is narrow."""

    def render(self, task: Task) -> Text:
        """Return the note on one line."""
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


def _whole() -> Column:
    return Column(no_wrap=True)


class TerminalReporter:
    """Draws stages as progress bars on a console; without a terminal it prints a line when a stage ends.

    Use it as a context manager: a stage that ends in an error is left as it stands.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<17}", markup=False, table_column=_whole()),
            BarColumn(bar_width=14, table_column=_whole()),
            TextColumn("{task.percentage:>3.0f}%", table_column=_whole()),
            TimeElapsedColumn(table_column=_whole()),
            TextColumn("left", table_column=_whole()),
            TimeRemainingColumn(table_column=_whole()),
            _Note(),
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
