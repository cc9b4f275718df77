"""Ends of requests that the store could not take when they came: given to it again until it does.

Without them a request that was being answered when the database went away would stay open until the next start.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from banyan.core.errors import BanyanError, StoreError
from banyan.core.logging import log_event
from banyan.store.failures import RefusedRowError
from banyan.store.types import AnswerStore, RequestId, StoredAnswer, StoredRequest

logger = logging.getLogger("banyan.serve")

_SECONDS_BETWEEN_TRIES = 0.5


@dataclass(frozen=True, slots=True)
class _Owed:
    answer: StoredAnswer
    request: StoredRequest | None  # written with it, where nobody knows whether it is there


class OwedEnds:
    """Holds the ends of one server. Used from the event loop only.

    There are never more than requests were inside when the store went away, for without it none is let in. What is
    still owed when the process ends is marked as interrupted by the store.
    """

    def __init__(self, store: AnswerStore, *, seconds_between_tries: float = _SECONDS_BETWEEN_TRIES) -> None:
        self._store = store
        self._seconds = seconds_between_tries
        self._waiting: dict[RequestId, _Owed] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        """Ends that are not written yet."""
        return len(self._waiting)

    def add(self, request_id: RequestId, answer: StoredAnswer, *, request: StoredRequest | None = None) -> None:
        """Keep an end until the store has it; with its request, if that may not be there."""
        log_event(logger, "record_owed", level=logging.ERROR, request_id=request_id)
        self._waiting[request_id] = _Owed(answer, request)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._hand_over())

    async def _hand_over(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._seconds)
            for request_id in list(self._waiting):
                if not await self._try(request_id):
                    break  # the store is still away

    async def _try(self, request_id: RequestId) -> bool:
        """Give one end to the store, and say whether the next one may be tried."""
        owed = self._waiting[request_id]
        try:
            await asyncio.shield(asyncio.wrap_future(self._write(request_id, owed)))
        except RefusedRowError as error:
            if owed.answer.outputs:  # what was written cannot be kept; that it ended can
                self._waiting[request_id] = replace(owed, answer=replace(owed.answer, outputs=()))
                return True
            log_event(logger, "record_lost", level=logging.ERROR, request_id=request_id, error=error)
        except StoreError:
            return False
        except BanyanError as error:
            log_event(logger, "record_lost", level=logging.ERROR, request_id=request_id, error=error)
        del self._waiting[request_id]
        return True

    def _write(self, request_id: RequestId, owed: _Owed) -> Future[Any]:
        if owed.request is None:
            return self._store.finish(request_id, owed.answer)
        return self._store.record(owed.request, owed.answer)
