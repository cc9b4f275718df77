"""A key gets exactly what it was given, no more in any minute or day, and is told when to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import httpx
import pytest

from banyan.serve.errors import ApiError
from banyan.serve.quotas import Quotas
from banyan.store.key_types import ApiKey, KeyLimits
from banyan.store.keys import change_key, create_key
from banyan.store.sql_store import SqlStore, open_store
from banyan.store.times import MICROSECONDS
from banyan.store.types import StoredAnswer
from banyan.testing.serving import RunningServer
from banyan.testing.store import tiny_request

NOON = 20_000 * 86_400 * MICROSECONDS + 43_200 * MICROSECONDS


@pytest.fixture
def empty() -> Iterator[SqlStore]:
    with open_store("sqlite://") as store:
        yield store


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * MICROSECONDS)


async def use(quotas: Quotas, key: ApiKey, *, at_most: int = 1, used: int = 1) -> None:
    async with quotas.place(key, max_tokens=at_most) as spent:
        spent.tokens = used


async def refused(quotas: Quotas, key: ApiKey, *, at_most: int = 1) -> tuple[str, int]:
    with pytest.raises(ApiError) as caught:
        await use(quotas, key, at_most=at_most)
    assert caught.value.status == 429
    return caught.value.code, int(caught.value.headers["Retry-After"])


def key_with(store: SqlStore, **limits: int) -> ApiKey:
    return create_key(store.database, name="k", limits=KeyLimits(**limits)).key


def run(store: SqlStore, test: Callable[[Quotas, Clock], object]) -> None:
    clock = Clock()
    asyncio.run(test(Quotas(store.database, clock=clock), clock))  # type: ignore[arg-type]


def test_no_minute_holds_more_requests_than_the_limit(empty: SqlStore) -> None:
    key = key_with(empty, requests_per_minute=3)

    async def test(quotas: Quotas, clock: Clock) -> None:
        served: list[int] = []
        for _ in range(400):
            clock.wait(7)
            try:
                await use(quotas, key)
            except ApiError:
                continue
            served.append(clock.now)
        windows = [sum(moment <= other < moment + 60 * MICROSECONDS for other in served) for moment in served]
        assert max(windows) == 3
        assert len(served) >= 3 * 400 * 7 // 63  # and hardly less: every 63 seconds there is room for three

    run(empty, test)


def test_what_asks_the_model_nothing_is_counted_apart_and_no_minute_holds_more_of_it(empty: SqlStore) -> None:
    key, free = key_with(empty, requests_per_minute=3), key_with(empty)

    async def test(quotas: Quotas, clock: Clock) -> None:
        for _ in range(50):
            quotas.read(free)
        read: list[int] = []
        for _ in range(400):
            clock.wait(7)
            try:
                quotas.read(key)
            except ApiError as error:
                told = int(error.headers["Retry-After"])
                assert error.status == 429 and read[-3] + 60 * MICROSECONDS == clock.now + told * MICROSECONDS
                continue
            read.append(clock.now)
        windows = [sum(moment <= other < moment + 60 * MICROSECONDS for other in read) for moment in read]
        assert max(windows) == 3 and len(read) >= 3 * 400 * 7 // 63
        for _ in range(3):
            await use(quotas, key)
        with pytest.raises(ApiError, match="limit of 1 requests per minute that ask the model nothing"):
            quotas.read(replace(key, limits=KeyLimits(requests_per_minute=1)))
        quotas.read(replace(key, limits=KeyLimits()))  # a change counts from the next request on

    run(empty, test)


def test_coming_back_when_told_is_early_enough_and_not_too_late(empty: SqlStore) -> None:
    key = key_with(empty, tokens_per_minute=100)

    async def test(quotas: Quotas, clock: Clock) -> None:
        await use(quotas, key, at_most=60, used=60)
        clock.wait(10)
        await use(quotas, key, at_most=40, used=30)
        assert await refused(quotas, key, at_most=11) == ("rate_limit_exceeded", 50)
        await use(quotas, key, at_most=10, used=10)
        clock.wait(49)
        assert await refused(quotas, key, at_most=11) == ("rate_limit_exceeded", 1)
        clock.wait(1)
        await use(quotas, key, at_most=60, used=1)

    run(empty, test)


def test_what_an_answer_may_cost_is_held_until_its_end(empty: SqlStore) -> None:
    key = key_with(empty, tokens_per_day=100)

    async def test(quotas: Quotas, clock: Clock) -> None:
        async with quotas.place(key, max_tokens=90) as spent:
            assert await refused(quotas, key, at_most=11) == ("quota_exceeded", 43_200)
            spent.tokens = 10
        await use(quotas, key, at_most=90, used=90)
        assert (await refused(quotas, key))[0] == "quota_exceeded"
        clock.wait(43_200)  # a new day
        await use(quotas, key, at_most=100, used=100)

    run(empty, test)


def test_requests_at_once_are_counted_while_they_last(empty: SqlStore) -> None:
    key = key_with(empty, max_concurrent=2)

    async def test(quotas: Quotas, clock: Clock) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(quotas.place(key, max_tokens=1))
            assert await refused(quotas, key) == ("rate_limit_exceeded", 1)
        await use(quotas, key)

    run(empty, test)


def test_a_new_process_knows_what_was_used(empty: SqlStore) -> None:
    key = key_with(empty, requests_per_minute=2, tokens_per_day=30)
    for at in (NOON - 5 * MICROSECONDS, NOON - 3600 * MICROSECONDS, NOON - 86_400 * MICROSECONDS):
        asked = tiny_request(api_key_id=key.key_id, num_prompt_tokens=10, received_at=at)
        empty.record(asked, StoredAnswer(num_completion_tokens=2)).result(10)

    async def test(quotas: Quotas, clock: Clock) -> None:
        assert (await refused(quotas, key, at_most=7))[0] == "quota_exceeded"  # 24 of today
        await use(quotas, key)
        assert (await refused(quotas, key))[0] == "rate_limit_exceeded"
        await use(quotas, replace(key, key_id="another"))

    run(empty, test)


def test_the_server_counts_what_was_answered_and_says_what_is_left(
    server: RunningServer,
) -> None:
    made = create_key(
        server.store.database, name="small", limits=KeyLimits(requests_per_minute=2, tokens_per_minute=500)
    )
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {made.secret}"}, verify=False) as client:
        body = {"model": "tiny", "prompt": "The banyan", "max_tokens": 5}
        answered = client.post("/v1/completions", json=body)
        assert answered.headers["x-ratelimit-remaining-requests"] == "1"
        assert answered.headers["X-Content-Stored"] == "full"
        too_large = client.post("/v1/completions", json={**body, "n": 8, "max_tokens": 100})
        assert too_large.status_code == 429 and "tokens per minute" in too_large.json()["error"]["message"]
        client.post("/v1/completions", json=body)
        refused = client.post("/v1/completions", json=body)
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        change_key(server.store.database, made.key.key_id, limits=KeyLimits())
        assert client.post("/v1/completions", json=body).status_code == 200, "a change counts from the next request on"


def test_reads_judgements_and_answers_given_again_have_the_limit_of_the_key_for_themselves(
    server: RunningServer,
) -> None:
    made = create_key(server.store.database, name="reader", limits=KeyLimits(requests_per_minute=3))
    headers = {"Authorization": f"Bearer {made.secret}"}
    with httpx.Client(base_url=server.url, headers=headers, verify=False) as client:
        body, once = {"model": "tiny", "prompt": "The banyan", "max_tokens": 2}, {"Idempotency-Key": "once"}
        key = client.post("/v1/completions", json=body, headers=once).headers["X-Request-Id"]
        for ask in (
            lambda: client.get("/v1/outputs"),
            lambda: client.post("/v1/feedback", json={"id": key, "rating": 1}),
            lambda: client.post("/v1/completions", json=body, headers=once),
        ):
            assert ask().status_code == 200
        for refused in (
            client.get(f"/v1/outputs/{key}"),
            client.post("/v1/completions", json=body, headers=once),
            client.get("/v1/nowhere"),
        ):
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert 0 < int(refused.headers["Retry-After"]) <= 60
        assert client.get("/livez").status_code == 200
        for _ in range(2):
            assert client.post("/v1/completions", json=body).status_code == 200, "answers have a count of their own"
        assert client.post("/v1/completions", json=body).status_code == 429
