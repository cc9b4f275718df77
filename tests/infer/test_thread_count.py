import threading
from pathlib import Path

import pytest

from banyan.infer.thread_count import ThreadCount, seconds_in_line

WINDOW = 0.5


class Line:
    """A core that another program wants, from now and then on."""

    def __init__(self, *, most: int) -> None:
        self.seconds = 0.0
        self.share = 0.0  # of the time that work takes
        self.used: list[int] = []
        self.threads = ThreadCount(most=most, in_line=lambda: {1: 0.0, 2: self.seconds}, use=self.used.append)

    def work(self, seconds: float) -> int:
        """Work in rounds of a tenth of a second; return the number of threads at the end."""
        for _ in range(round(10 * seconds)):
            if self.used[-1] > 1:
                self.seconds += 0.1 * self.share
            self.threads.note(0.1)
        return self.used[-1]


def test_all_threads_are_used_while_none_stands_in_line() -> None:
    line = Line(most=4)
    line.share = 0.1
    assert line.work(20) == 4 and line.used == [4]


def test_fewer_are_used_while_one_stands_in_line_and_all_again_when_the_cores_are_free() -> None:
    line = Line(most=2)
    line.share = 0.5
    assert line.work(0.4) == 2
    assert line.work(0.2) == 1
    line.share = 0.0
    assert line.work(4.5) == 1
    assert line.work(1) == 2
    assert line.work(60) == 2 and line.used == [2, 1, 2]


def test_each_trial_that_fails_makes_the_next_rest_longer() -> None:
    line = Line(most=2)
    line.share = 0.5
    line.work(300)
    assert 3 <= line.used.count(2) - 1 <= 7
    line.share = 0.0
    assert line.work(70) == 2


def test_many_threads_become_fewer_step_by_step() -> None:
    line = Line(most=8)
    line.share = 0.5
    line.work(4 * WINDOW)
    assert line.used == [8, 4, 2, 1]


@pytest.mark.parametrize("most", [1, 3, 6, 12])
def test_what_cannot_be_halved_down_to_one_stays_as_it_is(most: int) -> None:
    line = Line(most=most)
    line.share = 0.9
    assert line.work(20) == most and line.used == [most]


def test_a_system_that_does_not_tell_changes_nothing() -> None:
    used: list[int] = []
    threads = ThreadCount(most=2, in_line=dict, use=used.append)
    for _ in range(100):
        threads.note(1.0)
    assert used == [2]


@pytest.mark.skipif(not Path("/proc/self/schedstat").is_file(), reason="the system does not tell how long threads wait")
def test_the_line_is_told_of_the_calling_thread_and_of_no_other_that_runs_python() -> None:
    found: dict[str, set[int]] = {}
    ids: dict[str, int] = {}
    may_end = threading.Event()

    def wait() -> None:
        ids["other"] = threading.get_native_id()
        may_end.wait(10)

    other = threading.Thread(target=wait)
    other.start()
    try:
        found["own"] = set(seconds_in_line())
    finally:
        may_end.set()
        other.join()
    assert threading.get_native_id() in found["own"] and ids["other"] not in found["own"]
