"""Ctrl-C and SIGTERM as a wish that the training loop grants at the end of its step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptWatch:
    """While the block lasts, remembers the first SIGINT or SIGTERM; a second SIGINT interrupts at once.

    Outside the main thread Python delivers no signals; there the watch only offers `request()`.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._earlier: dict[signal.Signals, Any] = {}

    @property
    def is_requested(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self.signal_number is not None

    def request(self, number: int = signal.SIGINT, frame: FrameType | None = None) -> None:
        """Ask the run to stop after its current step."""
        if self.is_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = self.signal_number or number

    def __enter__(self) -> InterruptWatch:
        if threading.current_thread() is threading.main_thread():
            self._earlier = {number: signal.signal(number, self.request) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
