"""Deletes what has been kept long enough, now and then, as long as a server runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from banyan.core.errors import StoreError
from banyan.core.logging import log_event
from banyan.store.database import Database
from banyan.store.retention import RetentionPolicy, purge
from banyan.store.times import utc_microseconds

logger = logging.getLogger("banyan.serve")

ACTOR = "server"
_PAUSE_SECONDS = 3_600.0


@contextmanager
def keeping(database: Database, policy: RetentionPolicy, *, pause_seconds: float = _PAUSE_SECONDS) -> Iterator[None]:
    """Delete at once and after every pause, in a thread of its own, for the time of the block."""
    is_over = threading.Event()

    def run() -> None:
        while True:
            purge_once(database, policy)
            if is_over.wait(pause_seconds):
                return

    thread = threading.Thread(target=run, name="banyan-retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def purge_once(database: Database, policy: RetentionPolicy) -> None:
    """Delete what is due; a database that is away is asked again after the next pause."""
    try:
        gone = purge(database, policy, now=utc_microseconds(), actor=ACTOR)
    except StoreError as error:
        log_event(logger, "retention_failed", level=logging.WARNING, error=error.message)
        return
    if gone:
        log_event(logger, "retention", **asdict(gone))
