"""Work that is given up in its middle once nobody wants it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from banyan.core.errors import BanyanError
from banyan.train.evaluations import EvaluationStopped

_SECONDS_BETWEEN_LOOKS = 0.1


@contextmanager
def given_up_when(is_unwanted: Callable[[], bool], *, stop: Callable[[], None]) -> Iterator[None]:
    """Let another thread call `stop` as soon as an evaluation, which is the block, is unwanted.

    `stop` must make what the block asks next fail, as closing an engine does. So the block ends at a place of its own
    choice: an exception out of a signal handler could meet it while it holds a lock, or writes a file.
    Raises: EvaluationStopped where it was stopped, also if all was done just then.
    """
    is_over, was_stopped = threading.Event(), threading.Event()

    def look() -> None:
        while not is_unwanted():
            if is_over.wait(_SECONDS_BETWEEN_LOOKS):
                return
        was_stopped.set()
        stop()

    watcher = threading.Thread(target=look, name="banyan-unwanted", daemon=True)
    watcher.start()
    try:
        yield
    except BanyanError:
        if not was_stopped.is_set():
            raise
    finally:
        is_over.set()
        watcher.join()
    if was_stopped.is_set():
        raise EvaluationStopped
