"""One thread that commits many small writes together: durable, and fast because the disk is asked once per batch.

A future resolves only after COMMIT. Where the database refuses a batch, it is written again in one transaction with a
savepoint before each write: those it takes are committed together, the others go to the dead letters and fail their own
futures alone. An outage fails all of them, and nothing has been acknowledged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from banyan.core.config import config
from banyan.core.errors import StoreError
from banyan.core.logging import log_event
from banyan.store.database import Database
from banyan.store.dead_letters import Refused, report_refusal, write_dead_letter
from banyan.store.failures import UncertainWriteError, as_store_error, is_outage, is_worth_retrying, shown_url
from banyan.store.rows import WriteOperation

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
        self.num_refused = 0  # writes that went to the dead letters
        self._was_cut_off = False  # as the last batch was written
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

    def _commit(self, batch: Sequence[_Waiting], *, apart: bool = False) -> None:
        """Commit writes together; `apart`, those that the database refuses take no other along."""
        apply = self._apply_apart if apart else self._apply
        try:
            results = self._try_patiently(lambda: apply(batch))
        except Exception as error:
            if is_outage(error):
                failure = as_store_error(error, self._database.url, doing="write to")
                if self._was_cut_off:
                    failure = UncertainWriteError(failure.message, hint=failure.hint)
                self._note(is_available=False, reason=failure.message)
                _fail(batch, failure)
            elif len(batch) == 1:
                self._bury(batch[0], error)
            elif not apart:
                self._commit(batch, apart=True)
            else:  # the savepoints were lost, as SQLite may lose them where memory runs out
                for waiting in batch:
                    self._commit([waiting])
        else:
            self._note(is_available=True)
            for waiting, result in zip(batch, results, strict=True):
                self._settle(waiting, result)

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

    def _apply_apart(self, batch: Sequence[_Waiting]) -> list[Any]:
        with self._database.transaction() as connection:
            return [_apply_or_bury(connection, waiting.operation) for waiting in batch]

    def _try_patiently(self, work: Callable[[], list[Any]]) -> list[Any]:
        self._was_cut_off = False
        deadline = time.monotonic() + self._config.patience_seconds
        while True:
            try:
                return work()
            except DBAPIError as error:
                self._was_cut_off = self._was_cut_off or error.connection_invalidated
                if not is_worth_retrying(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _bury(self, waiting: _Waiting, error: Exception) -> None:
        """Put a refused write among the dead letters and fail its future."""
        failure = None
        try:
            with self._database.transaction() as connection:
                write_dead_letter(connection, waiting.operation, error)
        except Exception as problem:
            failure = problem
        self._settle(waiting, Refused(error, failure))

    def _settle(self, waiting: _Waiting, result: Any) -> None:
        if isinstance(result, Refused):
            self.num_refused += 1
            _fail([waiting], report_refusal(waiting.operation, result))
        elif waiting.future.set_running_or_notify_cancel():
            waiting.future.set_result(result)


def _apply_or_bury(connection: Connection, operation: WriteOperation) -> Any:
    """Apply a write, or make it a dead letter within the same transaction."""
    result = _try_alone(connection, lambda: operation.apply(connection))
    if not isinstance(result, Refused):
        return result
    letter = _try_alone(connection, lambda: write_dead_letter(connection, operation, result.error))
    return Refused(result.error, letter.error if isinstance(letter, Refused) else None)


def _try_alone(connection: Connection, work: Callable[[], Any]) -> Any:
    """Do a part of a transaction and return its result; or, if it fails for a reason of its own, undo it alone.

    Raises: what is wrong with the database as a whole, or with the savepoint; all of the transaction is lost then.
    """
    savepoint = connection.begin_nested()
    try:
        result = work()
    except Exception as error:
        if is_outage(error):
            raise
        savepoint.rollback()
        return Refused(error)
    savepoint.commit()
    return result


def _fail(batch: Sequence[_Waiting], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.future.done() and waiting.future.set_running_or_notify_cancel():
            waiting.future.set_exception(error)
