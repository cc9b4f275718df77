"""Searches through the store: a few threads of their own, an end when nobody waits, and no key can take them all."""

from __future__ import annotations

import asyncio
import threading

import pytest

from banyan.serve.errors import ApiError
from banyan.serve.searching import MAX_OF_ONE_KEY, MAX_TOGETHER, IsOver, Searches


def wait_until(is_so: IsOver) -> bool:
    """Look now and then, as a search does."""
    pause = threading.Event()
    while not is_so():
        pause.wait(0.001)
    return True


def test_a_search_is_told_when_its_time_is_over() -> None:
    assert asyncio.run(Searches().run(wait_until, owner="a", seconds=0.01))


def test_a_search_that_nobody_waits_for_ends_and_one_that_has_not_begun_never_does() -> None:
    ended: list[int] = []

    def work(number: int, is_over: IsOver) -> None:
        wait_until(is_over)
        ended.append(number)

    async def leave() -> None:
        searches = Searches()
        tasks = [
            asyncio.create_task(searches.run(lambda is_over, n=n: work(n, is_over), owner=str(n), seconds=60))  # type: ignore[misc]
            for n in range(MAX_TOGETHER + 1)
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(result, asyncio.CancelledError)
            for result in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert await searches.run(lambda _: "free", owner="0", seconds=1) == "free"

    asyncio.run(leave())
    assert set(ended) <= set(range(MAX_TOGETHER))


def test_one_key_cannot_have_many_searches_and_others_hear_nothing_of_it() -> None:
    async def crowd() -> None:
        searches, go = Searches(), threading.Event()
        mine = [
            asyncio.create_task(searches.run(lambda _: go.wait(10), owner="mine", seconds=60))
            for _ in range(MAX_OF_ONE_KEY)
        ]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refusal:
            await searches.run(lambda _: True, owner="mine", seconds=60)
        assert (refusal.value.status, refusal.value.headers["Retry-After"]) == (429, "1")
        other = asyncio.create_task(searches.run(lambda _: "other", owner="other", seconds=60))
        await asyncio.sleep(0)
        go.set()
        assert await other == "other"
        assert await asyncio.gather(*mine) == [True] * MAX_OF_ONE_KEY
        assert await searches.run(lambda _: "again", owner="mine", seconds=60) == "again"

    asyncio.run(crowd())


def test_what_a_search_raises_is_heard() -> None:
    def work(_: IsOver) -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        asyncio.run(Searches().run(work, owner="a", seconds=1))
