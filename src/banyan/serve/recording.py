"""The one way into the store: accepted before any work, ended exactly once, whatever the endpoint and the outcome."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from banyan.core.errors import StoreError
from banyan.core.logging import log_event
from banyan.serve.errors import ApiError
from banyan.store.key_types import StoreMode
from banyan.store.privacy import kept_answer, kept_request
from banyan.store.times import MICROSECONDS, utc_microseconds
from banyan.store.types import AnswerStore, RequestState, StoredAnswer, StoredOutput, StoredRequest

logger = logging.getLogger("banyan.serve")

CLIENT_GONE_STATUS = 499  # never sent; it says in the database that the client left


class Recorder:
    """Opens records in a store."""

    def __init__(self, store: AnswerStore, *, progress_seconds: float) -> None:
        self._store = store
        self._progress_seconds = progress_seconds

    async def begin(self, request: StoredRequest) -> Record:
        """Commit a request and return its record.

        Raises: StoreError if it could not be committed; then no work may begin.
        """
        mode = StoreMode(request.store_mode)
        record = Record(self._store, request.request_id, mode=mode, progress_seconds=self._progress_seconds)
        try:
            await asyncio.shield(asyncio.wrap_future(self._store.begin(kept_request(request))))
        except asyncio.CancelledError:
            await record.cancel((), num_completion_tokens=0)  # written after the beginning, in order
            raise
        return record


class Record:
    """One accepted request; ended by `complete`, `fail` or `cancel`, the first of which counts."""

    def __init__(
        self, store: AnswerStore, request_id: str, *, progress_seconds: float, mode: StoreMode = StoreMode.FULL
    ) -> None:
        self._store = store
        self._request_id = request_id
        self._mode = mode
        self._progress_seconds = progress_seconds
        self._admitted_at = utc_microseconds()
        self._first_token_at: int | None = None
        self._noted_at = time.monotonic()
        self._is_ended = False

    @property
    def first_token_seconds(self) -> float | None:
        """How long the first piece of the answer took, from the begin of the work; None: there is none."""
        return None if self._first_token_at is None else (self._first_token_at - self._admitted_at) / MICROSECONDS

    def note_progress(self, partial_text: str) -> None:
        """Keep what has been answered so far, now and then and without waiting."""
        if self._first_token_at is None:
            self._first_token_at = utc_microseconds()
        if self._mode is not StoreMode.FULL:
            return  # half a number would pass the sieve
        if time.monotonic() - self._noted_at >= self._progress_seconds:
            self._noted_at = time.monotonic()
            self._store.progress(self._request_id, partial_text)

    async def complete(
        self, outputs: Sequence[StoredOutput], *, num_completion_tokens: int, num_cached_tokens: int = 0
    ) -> None:
        """Commit the whole answer; only afterwards may its last byte be sent.

        Raises: StoreError if it could not be committed.
        """
        await self._end(RequestState.COMPLETED, 200, None, outputs, num_completion_tokens, num_cached_tokens)

    async def fail(self, error: ApiError, outputs: Sequence[StoredOutput], *, num_completion_tokens: int) -> None:
        """Commit that there is no answer, with what had been written of it."""
        await self._end_quietly(RequestState.FAILED, error.status, error.code, outputs, num_completion_tokens)

    async def cancel(
        self, outputs: Sequence[StoredOutput], *, num_completion_tokens: int, by_server: bool = False
    ) -> None:
        """Commit that the client left (or the server had to stop), with what had been written by then."""
        state, status, code = RequestState.CANCELLED, CLIENT_GONE_STATUS, "client_disconnected"
        if by_server:
            state, status, code = RequestState.INTERRUPTED, 503, "shutting_down"
        await self._end_quietly(state, status, code, outputs, num_completion_tokens)

    async def _end_quietly(
        self, state: RequestState, status: int, code: str, outputs: Sequence[StoredOutput], num_tokens: int
    ) -> None:
        try:
            await self._end(state, status, code, outputs, num_tokens)
        except StoreError as error:
            # The client is told about the first error; this second one is for whoever runs the server.
            log_event(logger, "record_lost", level=logging.ERROR, request_id=self._request_id, error=error)

    async def _end(
        self,
        state: RequestState,
        status: int,
        code: str | None,
        outputs: Sequence[StoredOutput],
        num_tokens: int,
        num_cached_tokens: int = 0,
    ) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        answer = StoredAnswer(
            state=state,
            outputs=tuple(outputs),
            http_status=status,
            error_code=code,
            num_completion_tokens=num_tokens,
            num_cached_tokens=num_cached_tokens,
            admitted_at=self._admitted_at,
            first_token_at=self._first_token_at,
        )
        # Shielded: a client who leaves now must not stop the commit half-way.
        await asyncio.shield(asyncio.wrap_future(self._store.finish(self._request_id, kept_answer(answer, self._mode))))
