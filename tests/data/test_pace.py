import math

import pytest

from banyan.data.pace import Paces


def paces() -> Paces:
    return Paces(("a", "b"), slow_after=2, slow_factor=0.1)


def test_a_task_without_a_better_score_is_slowed_until_it_gets_better_again() -> None:
    heard, slow = paces(), []
    for score in (0.5, 0.5, 0.4, 0.45, 0.6):
        heard.hear({"a": score})
        slow.append(heard.factors.tolist())
    assert slow == [[1.0, 1.0], [1.0, 1.0], [0.1, 1.0], [0.1, 1.0], [1.0, 1.0]]


def test_a_score_that_is_no_number_is_as_none() -> None:
    heard = paces()
    for score in (math.nan, 0.5, 0.6, 0.7):
        heard.hear({"a": score})
    assert heard.factors.tolist() == [1.0, 1.0]


def test_a_state_is_taken_up_exactly() -> None:
    heard, resumed = paces(), paces()
    for score in (0.5, 0.4, 0.3):
        heard.hear({"a": score, "b": 1.0 - score})
    resumed.restore(heard.state())
    assert resumed.state() == heard.state()
    assert resumed.factors.tolist() == pytest.approx([0.1, 1.0])
