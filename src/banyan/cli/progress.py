"""Progress on a terminal: one bar per stage with time left; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
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

from banyan.cli.training_view import TrainingPanel, plain_line
from banyan.workflows.reporter import TrainingView

_SECONDS_BETWEEN_LINES = 30.0  # of a training run, where there is no terminal
_NARROW = 66  # columns
_REFRESHES_PER_SECOND = 4  # each takes milliseconds from the training


class _Note(ProgressColumn):
    """What a stage has to say; the one column that is cut where the terminal is narrow."""

    def render(self, task: Task) -> Text:
        """Return the note on one line."""
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


class _Display(Progress):
    """The bars, and under them the training run that is going on."""

    panel: TrainingPanel | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield what is drawn, from above."""
        yield from super().get_renderables()
        if self.panel is not None:
            yield self.panel


def _whole() -> Column:
    return Column(no_wrap=True)


def _columns(width: int) -> list[ProgressColumn]:
    """Return what a bar shows; a narrow terminal leaves out the bar itself before any number."""
    left = [TextColumn("left", table_column=_whole()), TimeRemainingColumn(table_column=_whole()), _Note()]
    share = TextColumn("{task.percentage:>3.0f}%", table_column=_whole())
    if width < _NARROW:
        return [TextColumn("{task.description}", markup=False, table_column=_whole()), share, *left]
    name = TextColumn("{task.description:<17}", markup=False, table_column=_whole())
    bar = BarColumn(bar_width=14, table_column=_whole())
    return [name, bar, share, TimeElapsedColumn(table_column=_whole()), *left]


class TerminalReporter:
    """Draws stages as progress bars on a console; without a terminal it prints a line when a stage ends.

    Use it as a context manager: a stage that ends in an error is left as it stands.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._progress = _Display(
            *_columns(console.width),
            console=console,
            disable=console.quiet or not console.is_terminal,
            refresh_per_second=_REFRESHES_PER_SECOND,
        )
        self._current: TaskID | None = None
        self._name = ""
        self._began = 0.0
        self._note = ""
        self._printed_at = 0.0

    @property
    def is_live(self) -> bool:
        """Does somebody watch a terminal?"""
        return not self._progress.disable

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
        self._name, self._note, self._began = name, "", self._clock()
        self._printed_at = self._began
        self._progress.start()
        self._current = self._progress.add_task(name, total=None, note="")

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        """Move the current bar."""
        if self._current is not None:
            self._note = note or self._note
            self._progress.update(self._current, completed=done, total=max(total, 1e-9), note=self._note)

    def training(self, view: TrainingView) -> None:
        """Draw the run under its bar; without a terminal, print a line now and then."""
        if self.is_live:
            self._progress.panel = TrainingPanel(view)
        elif self._clock() - self._printed_at >= _SECONDS_BETWEEN_LINES:
            self._printed_at = self._clock()
            self.line(plain_line(view))

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
        self._progress.panel = None
        if self._progress.disable:
            self.line(f"{self._name}: {self._clock() - self._began:.1f} s  {self._note}".rstrip())
