import asyncio
from concurrent.futures import CancelledError

import pytest

from banyan.infer.requests import Request, Ticket
from banyan.infer.sampling import GREEDY
from banyan.testing.prompts import picture_prompt


def test_the_first_end_of_a_ticket_is_its_only_one() -> None:
    ticket: Ticket[int] = Ticket()
    ticket.succeed(1)
    ticket.fail(RuntimeError())
    ticket.succeed(2)
    assert ticket.is_done and ticket.result() == 1 and not ticket.cancel()


def test_a_cancelled_ticket_takes_no_result() -> None:
    ticket: Ticket[int] = Ticket()
    assert ticket.cancel()
    ticket.succeed(1)
    with pytest.raises(CancelledError):
        ticket.result()


def test_waiting_longer_than_allowed_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        Ticket[int]().result(timeout_seconds=0.01)


def test_an_event_loop_that_gives_up_cancels_the_request() -> None:
    ticket: Ticket[int] = Ticket()

    async def give_up() -> None:
        await asyncio.wait_for(asyncio.wrap_future(ticket.future), timeout=0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    assert ticket.future.cancelled()


@pytest.mark.parametrize("num_slots", [1, 2])
def test_a_guided_request_counts_the_tokens_of_both_prompts(num_slots: int) -> None:
    prompt = picture_prompt("a seven")
    request = Request(prompt=prompt, sampling=GREEDY, num_slots=num_slots, max_tokens=9)
    expected = len(prompt.token_ids) + (len(prompt.unconditional_token_ids) if num_slots == 2 else 0)
    assert request.num_tokens == expected
