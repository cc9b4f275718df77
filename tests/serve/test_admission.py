import asyncio

import pytest

from banyan.serve.admission import Admission
from banyan.serve.errors import ApiError


async def hold(admission: Admission, release: asyncio.Event) -> None:
    with admission.place():
        await release.wait()


def refusal(admission: Admission) -> str:
    with pytest.raises(ApiError) as caught, admission.place():
        pass
    assert caught.value.status == 503
    assert "Retry-After" in caught.value.headers
    return caught.value.code


def test_places_are_given_up_to_the_limit_and_come_back() -> None:
    async def run() -> None:
        admission, release = Admission(max_requests=2), asyncio.Event()
        holders = [asyncio.create_task(hold(admission, release)) for _ in range(2)]
        await asyncio.sleep(0)
        assert refusal(admission) == "overloaded"
        release.set()
        await asyncio.gather(*holders)
        with admission.place():
            assert admission.num_inside == 1
        assert admission.num_inside == 0

    asyncio.run(run())


def test_what_requests_may_cost_together_is_bounded_and_one_alone_is_always_let_in() -> None:
    async def run() -> None:
        admission = Admission(max_requests=9, max_tokens=100)
        with admission.place(num_tokens=1_000):
            with pytest.raises(ApiError) as caught, admission.place(num_tokens=1):
                pass
            assert caught.value.code == "overloaded"
        with admission.place(num_tokens=60):
            assert admission.num_inside == 1

    asyncio.run(run())


def test_draining_waits_for_those_inside_and_lets_nobody_in() -> None:
    async def run() -> None:
        admission, release = Admission(max_requests=2), asyncio.Event()
        holder = asyncio.create_task(hold(admission, release))
        await asyncio.sleep(0)
        draining = asyncio.create_task(admission.drain(timeout_seconds=5))
        await asyncio.sleep(0)
        assert refusal(admission) == "shutting_down"
        assert not draining.done()
        release.set()
        await draining
        assert holder.done()
        assert not admission.is_closed

    asyncio.run(run())


def test_draining_stops_those_who_take_too_long() -> None:
    async def run() -> None:
        admission = Admission(max_requests=2)
        holder = asyncio.create_task(hold(admission, asyncio.Event()))
        await asyncio.sleep(0)
        await admission.drain(timeout_seconds=0.01)
        assert admission.is_closed
        assert admission.num_inside == 0
        await asyncio.gather(holder, return_exceptions=True)
        assert holder.cancelled()

    asyncio.run(run())
