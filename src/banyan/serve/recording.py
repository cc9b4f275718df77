"""The one way into the store: accepted before any work, ended exactly once, whatever the endpoint and the outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeAlias

from banyan.core.errors import StoreError
from banyan.serve.errors import ApiError, as_api_error
from banyan.serve.owed_ends import OwedEnds
from banyan.store.failures import UncertainWriteError
from banyan.store.key_types import StoreMode
from banyan.store.privacy import kept_answer, kept_request
from banyan.store.times import MICROSECONDS, utc_microseconds
from banyan.store.types import AnswerStore, RequestId, RequestState, StoredAnswer, StoredOutput, StoredRequest

CLIENT_GONE_STATUS = 499  # never sent; it says in the database that the client left
FinishingWrite: TypeAlias = Callable[[RequestId, StoredAnswer], Future[Any]]  # as the `finish` of a store


class Recorder:
    """Opens records in a store."""

    def __init__(self, store: AnswerStore, *, progress_seconds: float) -> None:
        self._store = store
        self._owed = OwedEnds(store)
        self._progress_seconds = progress_seconds

    async def begin(self, request: StoredRequest) -> Record:
        """Commit a request and return its record.

        Raises: StoreError if it could not be committed; then no work may begin.
        """
        mode, kept = StoreMode(request.store_mode), kept_request(request)
        record = Record(self._store, request.request_id, mode=mode, progress_seconds=self._progress_seconds)
        try:
            await asyncio.shield(asyncio.wrap_future(self._store.begin(kept)))
        except asyncio.CancelledError:
            await record.cancel((), num_completion_tokens=0)  # written after the beginning, in order
            raise
        except UncertainWriteError as error:
            told = as_api_error(error, request_id=request.request_id)
            answer = StoredAnswer(state=RequestState.FAILED, http_status=told.status, error_code=told.code)
            self._owed.add(request.request_id, answer, request=kept)
            raise
        record.owed = self._owed  # only what has begun can owe its end
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
        self._is_store_away = False  # as its answer was to be written
        self._holds_back = False
        self._held: StoredAnswer | None = None  # that waits to be settled
        self.owed: OwedEnds | None = None

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
        """Commit the whole answer, unless it is held back; only after the commit may its last byte be sent.

        Raises: StoreError if it could not be committed.
        """
        answer = self._ended(RequestState.COMPLETED, 200, None, outputs, num_completion_tokens, num_cached_tokens)
        if answer is not None and self._holds_back:
            self._held = answer
        elif answer is not None:
            await self._commit_completed(answer)

    def hold_back(self) -> None:
        """Let `complete` keep the answer until it is settled."""
        self._holds_back = True

    async def settle(self, write: FinishingWrite | None = None) -> None:
        """Commit an answer that was held back, if there is one; `write` may add to the transaction.

        Raises: StoreError if it could not be committed; the request has failed then.
        """
        answer, self._held = self._held, None
        if answer is None:
            return
        try:
            await self._commit_completed(answer, write)
        except StoreError as error:
            problem = as_api_error(error, request_id=self._request_id)
            await self.fail(problem, answer.outputs, num_completion_tokens=answer.num_completion_tokens)
            raise

    async def forsake(self) -> None:
        """Commit that nobody was there any more for an answer that is still held back."""
        answer, self._held = self._held, None
        if answer is not None:
            self._is_ended = False
            await self.cancel(answer.outputs, num_completion_tokens=answer.num_completion_tokens)

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
        """Write an end now, or when the store is back: the client is told about the first error, not about this one."""
        answer = self._ended(state, status, code, outputs, num_tokens)
        if answer is None:
            return
        if not self._is_store_away:
            with suppress(StoreError):
                await self._commit(answer)
                return
        if self.owed is not None:
            self.owed.add(self._request_id, kept_answer(answer, self._mode))

    def _ended(
        self,
        state: RequestState,
        status: int,
        code: str | None,
        outputs: Sequence[StoredOutput],
        num_tokens: int,
        num_cached_tokens: int = 0,
    ) -> StoredAnswer | None:
        """Return the end of the request as it is stored; None if it has one already."""
        if self._is_ended:
            return None
        self._is_ended = True
        return StoredAnswer(
            state=state,
            outputs=tuple(outputs),
            http_status=status,
            error_code=code,
            num_completion_tokens=num_tokens,
            num_cached_tokens=num_cached_tokens,
            admitted_at=self._admitted_at,
            first_token_at=self._first_token_at,
        )

    async def _commit_completed(self, answer: StoredAnswer, write: FinishingWrite | None = None) -> None:
        try:
            await self._commit(answer, write)
        except StoreError:
            self._is_ended, self._is_store_away = False, True  # whoever hears of it says how the request ends instead
            raise

    async def _commit(self, answer: StoredAnswer, write: FinishingWrite | None = None) -> None:
        # Shielded: a client who leaves now must not stop the commit half-way.
        finish = write or self._store.finish
        await asyncio.shield(asyncio.wrap_future(finish(self._request_id, kept_answer(answer, self._mode))))
