"""Writes that must reach a database which may be away for a while: kept in a file until they have.

Each is given to the store in turn, and the next one only when it is committed, so that no row comes before the one it
refers to. A write may be applied twice with the same effect as once; so whatever a killed process left in the file is
simply given again by the next one, and every row is there exactly once in the end.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from banyan.core.errors import StoreError
from banyan.core.logging import log_event
from banyan.store.failures import RefusedRowError
from banyan.store.rows import ChangeRow, PutRow, WriteOperation
from banyan.store.schema import Base
from banyan.store.sql_store import SqlStore

logger = logging.getLogger("banyan.store")
_SECONDS_BETWEEN_TRIES = 1.0


class Outbox:
    """Hands writes to a store in their order, as soon as it can take them. Safe to call from many threads at once.

    `path` is where writes wait on disk; those that an earlier process left there come first.
    """

    def __init__(self, store: SqlStore, path: Path, *, sleep: Callable[[float], Any] = time.sleep) -> None:
        self._store = store
        self._path = path
        self._sleep = sleep
        self._waiting: deque[tuple[WriteOperation, Future[Any]]] = deque(
            (operation, Future()) for operation in _read(path)
        )
        self._changed = threading.Condition()
        self._is_closing = False
        self._has_given_up = False
        self._thread = threading.Thread(target=self._run, name="banyan-outbox", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Writes that are not committed yet."""
        return len(self._waiting)

    def submit(self, operation: WriteOperation) -> Future[Any]:
        """Keep a write and return the future that resolves after its commit, however late that is."""
        future: Future[Any] = Future()
        with self._changed:
            with suppress(OSError), self._path.open("a", encoding="utf-8") as file:  # no room: memory must do
                file.write(json.dumps(_to_plain(operation), ensure_ascii=False) + "\n")
            self._waiting.append((operation, future))
            self._changed.notify_all()
        return future

    def close(self, *, patience_seconds: float = 2.0) -> int:
        """Hand over what waits and return how many writes are left; they stay in the file for the next process."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            # While the store works it is waited for; where it is away, only for a moment.
            while self._waiting and (self._store.is_available or patience_seconds > 0):
                self._changed.wait(0.1)
                patience_seconds -= 0 if self._store.is_available else 0.1
            left = len(self._waiting)
            self._has_given_up = left > 0
        if left:
            log_event(logger, "writes_left", level=logging.WARNING, count=left, path=str(self._path))
        return left

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting or self._has_given_up:
                    return
                operation, future = self._waiting[0]
            result, refusal = None, None
            try:
                result = self._store.submit(operation).result()
            except RefusedRowError as error:
                refusal = error
            except StoreError:  # it is away, or closed
                self._sleep(_SECONDS_BETWEEN_TRIES)
                continue
            with self._changed:
                self._waiting.popleft()
                if not self._waiting:
                    with suppress(OSError):
                        self._path.unlink(missing_ok=True)
                self._changed.notify_all()
            if refusal is None:
                future.set_result(result)
            else:
                future.set_exception(refusal)


def _to_plain(operation: WriteOperation) -> dict[str, Any]:
    if isinstance(operation, PutRow):
        return {**operation.payload(), "unique": list(operation.key), "replace": list(operation.replace)}
    if isinstance(operation, ChangeRow):
        return dict(operation.payload())
    raise TypeError(f"{type(operation).__name__} cannot wait in an outbox")


def _from_plain(plain: dict[str, Any]) -> WriteOperation:
    tables = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}
    table = tables[plain["table"]]
    if "unique" not in plain:
        return ChangeRow(table=table, key=plain["key"], values=plain["values"])
    unique, replace = tuple(plain["unique"]), tuple(plain["replace"])
    return PutRow(table=table, values=plain["values"], key=unique, replace=replace)


def _read(path: Path) -> list[WriteOperation]:
    """Return the writes of a file; a line that was cut off by a crash had not been promised to anybody."""
    found = []
    lines = path.read_text("utf-8", errors="replace").split("\n") if path.is_file() else []
    for line in filter(None, lines):
        with suppress(ValueError, KeyError, TypeError):
            found.append(_from_plain(json.loads(line)))
    return found
