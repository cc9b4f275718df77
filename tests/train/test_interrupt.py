import os
import signal
import threading

import pytest

from banyan.train.interrupt import InterruptWatch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_becomes_a_wish(number: signal.Signals) -> None:
    with InterruptWatch() as watch:
        assert not watch.is_requested
        os.kill(os.getpid(), number)
        assert watch.signal_number == number


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with InterruptWatch(), pytest.raises(KeyboardInterrupt):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with InterruptWatch():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_a_wish_can_still_be_made() -> None:
    seen: list[bool] = []

    def work() -> None:
        with InterruptWatch() as watch:
            watch.request()
            seen.append(watch.is_requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
