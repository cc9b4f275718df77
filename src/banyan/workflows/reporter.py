"""How long work speaks to whoever waits for it: the command line brings one that draws bars, a test a silent one."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Hears what a workflow is doing."""

    def stage(self, name: str) -> None:
        """Say that a new stage begins; the one before is over."""

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        """Say how far the current stage is; `note` holds figures worth showing, such as loss and throughput."""

    def line(self, text: str) -> None:
        """Say something that should stay readable afterwards."""

    def close(self) -> None:
        """Say that the last stage is over."""


class SilentReporter:
    """Says nothing."""

    def stage(self, name: str) -> None:
        """Ignore it."""

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        """Ignore it."""

    def line(self, text: str) -> None:
        """Ignore it."""

    def close(self) -> None:
        """Ignore it."""
