"""A request that was being answered when the database went away has an end as soon as it is back."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import pytest

from banyan.core.errors import StoreError
from banyan.serve.errors import unavailable
from banyan.serve.owed_ends import OwedEnds
from banyan.serve.recording import Recorder
from banyan.store.failures import RefusedRowError, UncertainWriteError
from banyan.store.types import RequestState, StoredAnswer, StoredOutput, StoredRequest
from banyan.testing.store import tiny_request

OUTPUTS = (StoredOutput(text="half a tr", finish_reason=None),)


class FailingStore:
    """A store whose first writes of an end fail, one after another, as they are told to."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.kept: dict[str, StoredAnswer] = {}

    def begin(self, request: StoredRequest) -> Future[str]:
        return _done(request.request_id)

    def record(self, request: StoredRequest, answer: StoredAnswer) -> Future[str]:
        raise NotImplementedError

    def progress(self, request_id: str, partial_text: str) -> None:
        pass

    def finish(self, request_id: str, answer: StoredAnswer) -> Future[None]:
        if self._failures:
            failed: Future[None] = Future()
            failed.set_exception(self._failures.pop(0))
            return failed
        self.kept[request_id] = answer
        return _done(None)

    def close(self) -> None:
        raise NotImplementedError


def _done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def _handed_over(store: FailingStore) -> StoredAnswer:
    """Owe one end to a store and return what it kept once nothing is owed any more."""

    async def run() -> None:
        owed = OwedEnds(store, seconds_between_tries=0.001)
        owed.add("01", StoredAnswer(state=RequestState.FAILED, outputs=OUTPUTS))
        while owed.num_waiting:
            await asyncio.sleep(0.001)

    asyncio.run(run())
    return store.kept["01"]


def test_an_end_is_given_to_the_store_until_it_takes_it() -> None:
    assert _handed_over(FailingStore(StoreError("away."), StoreError("away."))).outputs == OUTPUTS


def test_of_what_the_store_refuses_it_keeps_that_it_ended() -> None:
    answer = _handed_over(FailingStore(RefusedRowError("no.")))
    assert (answer.state, answer.outputs) == (RequestState.FAILED, ())


def test_an_answer_that_could_not_be_stored_ends_as_what_its_client_was_told() -> None:
    async def run() -> FailingStore:
        store = FailingStore(StoreError("away."))
        record = await Recorder(store, progress_seconds=1).begin(tiny_request(request_id="01"))
        try:
            await record.complete((), num_completion_tokens=1)
        except StoreError:
            await record.fail(unavailable("storage_unavailable", "x"), OUTPUTS, num_completion_tokens=1)
        assert record.owed is not None and record.owed.num_waiting == 1
        while record.owed.num_waiting:
            await asyncio.sleep(0.05)
        return store

    answer = asyncio.run(run()).kept["01"]
    assert (answer.state, answer.error_code, answer.outputs) == (RequestState.FAILED, "storage_unavailable", OUTPUTS)


class CutOffStore(FailingStore):
    """A store that was cut off from its database as a request was begun."""

    def begin(self, request: StoredRequest) -> Future[str]:
        begun: Future[str] = Future()
        begun.set_exception(UncertainWriteError("away."))
        return begun

    def record(self, request: StoredRequest, answer: StoredAnswer) -> Future[Any]:
        return self.finish(request.request_id, answer)


def test_a_request_that_may_have_been_begun_is_written_again_with_its_end() -> None:
    async def run() -> FailingStore:
        store = CutOffStore()
        with pytest.raises(StoreError):
            await Recorder(store, progress_seconds=1).begin(tiny_request(request_id="01"))
        while not store.kept:
            await asyncio.sleep(0.05)
        return store

    answer = asyncio.run(run()).kept["01"]
    assert (answer.state, answer.http_status, answer.error_code) == (RequestState.FAILED, 503, "storage_unavailable")
