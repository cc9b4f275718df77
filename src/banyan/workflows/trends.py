"""The course of a number over a run of any length, in a few values."""

from __future__ import annotations

MAX_STRETCHES = 32


class Trend:
    """Means of equal stretches of a stream; when there are too many, two neighbours become one."""

    def __init__(self) -> None:
        self._means: list[float] = []
        self._length = 1  # values in a stretch
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        """Take in the next value."""
        self._sum, self._count = self._sum + value, self._count + 1
        if self._count < self._length:
            return
        self._means.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self._means) == 2 * MAX_STRETCHES:
            pairs = zip(self._means[::2], self._means[1::2], strict=True)
            self._means = [(first + second) / 2 for first, second in pairs]
            self._length *= 2

    @property
    def course(self) -> tuple[float, ...]:
        """The means, oldest first; a stretch that has only begun is left out."""
        return tuple(self._means)
