import threading

import pytest

from banyan.core.errors import BanyanError
from banyan.train.evaluations import EvaluationStopped
from banyan.workflows.unwanted_work import given_up_when


def test_unwanted_work_is_stopped_in_its_middle_and_what_fails_then_is_no_error() -> None:
    stopped = threading.Event()
    with pytest.raises(EvaluationStopped), given_up_when(lambda: True, stop=stopped.set):
        assert stopped.wait(60)
        raise BanyanError("the engine is closed")


def test_nothing_comes_of_unwanted_work_that_is_done_just_then() -> None:
    stopped = threading.Event()
    with pytest.raises(EvaluationStopped), given_up_when(lambda: True, stop=stopped.set):
        pass
    assert stopped.is_set()


def test_wanted_work_is_done_to_its_end_or_fails_with_its_own_error_and_no_thread_is_left() -> None:
    done, stopped = [], threading.Event()
    with given_up_when(lambda: False, stop=stopped.set):
        done.append(True)
    with pytest.raises(BanyanError, match="its own"), given_up_when(lambda: False, stop=stopped.set):
        raise BanyanError("its own error")
    assert done and not stopped.is_set()
    assert "banyan-unwanted" not in [thread.name for thread in threading.enumerate()]
