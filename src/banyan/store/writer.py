"""One thread that commits many small writes together: durable, and fast because the disk is asked once per batch.

A future resolves only after COMMIT. A write that the database refuses is found by halving its batch, goes to the
dead letters, and fails its own future alone; an outage fails all of them, and nothing has been acknowledged.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from banyan.core.config import config
from banyan.core.errors import BanyanError, StoreError
from banyan.core.ids import new_ulid
from banyan.core.logging import log_event
from banyan.store.database import Database
from banyan.store.failures import RefusedRowError, as_store_error, is_outage, is_worth_retrying, shown_url
from banyan.store.rows import WriteOperation
from banyan.store.schema import DeadLetterRow
from banyan.store.times import utc_microseconds

logger = logging.getLogger("banyan.store")


@config
class WriterConfig:
    """How much is committed at once, and how much may wait."""

    max_batch_rows: int = 64
    max_wait_seconds: float = 0.003  # for more rows, once the first is there, where rows have come together before
    max_queue_rows: int = 10_000
    max_queue_bytes: int = 64 * 2**20
    patience_seconds: float = 15.0  # how long to try again while another process holds the lock


@dataclass(frozen=True, slots=True)
class _Waiting:
    operation: WriteOperation
    future: Future[Any]
    num_bytes: int


class GroupWriter:
    """The only writer of a process. Safe to call from many threads at once."""

    def __init__(self, database: Database, *, config: WriterConfig | None = None) -> None:
        self._database = database
        self._config = config or WriterConfig()
        self.is_available = True  # whether the last batch found the database in order
        self._queue: deque[_Waiting] = deque()
        self._queue_bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._num_uncommitted = 0
        self._num_together = 0  # writes of the last batch
        self._thread = threading.Thread(target=self._run, name="banyan-store-writer", daemon=True)
        self._thread.start()

    def submit(self, operation: WriteOperation, *, is_owed: bool = False) -> Future[Any]:
        """Queue one write and return the future that resolves after its commit.

        The future fails with StoreError if the queue is full, unless the write `is_owed`: the end of a request that
        was let in, of which there cannot be more than requests.
        """
        future: Future[Any] = Future()
        waiting = _Waiting(operation, future, operation.num_bytes)
        with self._changed:
            if refusal := self._refusal(waiting, is_owed=is_owed):
                future.set_exception(refusal)
                return future
            self._queue.append(waiting)
            self._queue_bytes += waiting.num_bytes
            self._num_uncommitted += 1
            self._changed.notify_all()
        return future

    @property
    def num_waiting(self) -> int:
        """Writes that are not committed yet."""
        return self._num_uncommitted

    def flush(self, *, timeout_seconds: float | None = None) -> bool:
        """Wait until everything submitted so far is settled, and say whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._num_uncommitted == 0, timeout_seconds)

    def close(self) -> None:
        """Settle everything that waits, then stop the thread; later writes are refused."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()

    def _refusal(self, waiting: _Waiting, *, is_owed: bool) -> StoreError | None:
        where = shown_url(self._database.url)
        if self._is_closing:
            return StoreError(f"{where} is closed; nothing more can be stored.")
        limits = self._config
        is_full = len(self._queue) >= limits.max_queue_rows
        is_full = is_full or self._queue_bytes + waiting.num_bytes > limits.max_queue_bytes
        if is_owed or not is_full:
            return None
        return StoreError(
            f"too many writes wait for {where}: {len(self._queue)} rows, {self._queue_bytes} bytes.",
            hint="try again in a moment",
        )

    def _run(self) -> None:
        while batch := self._take_batch():
            try:
                self._commit(batch)
            except Exception as error:  # a mistake of ours must not end the thread and hang every future
                logger.exception("store_writer_failed")
                _fail(batch, error)
            with self._changed:
                self._num_uncommitted -= len(batch)
                self._changed.notify_all()

    def _take_batch(self) -> list[_Waiting]:
        """Wait for a first write, then a moment for more; an empty list means closed and nothing left.

        Who writes alone waits for nobody: more are waited for only where the last batch was more than one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            patience = self._config.max_wait_seconds if self._num_together > 1 else 0.0
            deadline = time.monotonic() + patience
            while self._queue and len(self._queue) < self._config.max_batch_rows and not self._is_closing:
                if not self._changed.wait(max(deadline - time.monotonic(), 0)):
                    break
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._config.max_batch_rows))]
            self._queue_bytes -= sum(waiting.num_bytes for waiting in batch)
            self._num_together = len(batch)
            return batch

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        try:
            results = self._try_patiently(lambda: self._apply(batch))
        except Exception as error:
            if is_outage(error):
                failure = as_store_error(error, self._database.url, doing="write to")
                self._note(is_available=False, reason=failure.message)
                _fail(batch, failure)
            elif len(batch) == 1:
                self._bury(batch[0], error)
            else:  # one of these rows is the poison; the halves keep their order
                self._commit(batch[: len(batch) // 2])
                self._commit(batch[len(batch) // 2 :])
        else:
            self._note(is_available=True)
            for waiting, result in zip(batch, results, strict=True):
                _resolve(waiting.future, result)

    def _note(self, *, is_available: bool, reason: str = "") -> None:
        """Log the beginning and the end of an outage, not every batch in between."""
        if is_available and not self.is_available:
            log_event(logger, "store_is_back", level=logging.WARNING)
        elif self.is_available and not is_available:
            log_event(logger, "store_outage", level=logging.ERROR, reason=reason)
        self.is_available = is_available

    def _apply(self, batch: Sequence[_Waiting]) -> list[Any]:
        with self._database.transaction() as connection:
            return [waiting.operation.apply(connection) for waiting in batch]

    def _try_patiently(self, work: Callable[[], list[Any]]) -> list[Any]:
        deadline = time.monotonic() + self._config.patience_seconds
        while True:
            try:
                return work()
            except DBAPIError as error:
                if not is_worth_retrying(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _bury(self, waiting: _Waiting, error: Exception) -> None:
        """Put a refused write among the dead letters and fail its future."""
        name = type(waiting.operation).__name__
        reason = error.message if isinstance(error, BanyanError) else f"{type(error).__name__}: {_reason(error)}"
        kept = "it is kept in dead_letters"
        try:
            row = {
                "id": new_ulid(),
                "at": utc_microseconds(),
                "source": name,
                "payload": dead_letter_json(waiting.operation),
                "error": _ascii(reason),
            }
            with self._database.transaction() as connection:
                connection.execute(insert(DeadLetterRow).values(row))
        except Exception as failure:
            kept = f"and dead_letters could not take it either ({type(failure).__name__})"
        log_event(logger, "store_refused_row", level=logging.ERROR, operation=name, error=type(error).__name__)
        refusal = RefusedRowError(f"the database refused a row: {_ascii(reason).rstrip('.')}; {kept}.")
        _fail([waiting], error if isinstance(error, BanyanError) else refusal)


def dead_letter_json(operation: WriteOperation) -> str:
    """Write everything in an operation as ASCII JSON that any database can hold; or why JSON cannot."""
    try:
        return json.dumps(operation.payload(), ensure_ascii=True, default=_json_default)
    except (TypeError, ValueError, RecursionError) as error:  # names that are no texts, values that hold themselves
        return json.dumps({"unwritable": type(error).__name__})


def _json_default(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else repr(value)


def _reason(error: Exception) -> str:
    original = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return str(original).splitlines()[0] if str(original) else ""


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")


def _resolve(future: Future[Any], result: Any) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result(result)


def _fail(batch: Sequence[_Waiting], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.future.done() and waiting.future.set_running_or_notify_cancel():
            waiting.future.set_exception(error)
