import json
import math

import pytest

from banyan.train.balance import TaskBalance
from banyan.train.health.anchors import Anchors, balanced


def test_the_older_of_two_is_at_least_one_interval_behind() -> None:
    anchors = Anchors()
    assert anchors.earlier is None
    for step in range(1, 200):
        anchors.add(0.5, step=step, place={"step": step})
    assert anchors.earlier is not None and anchors.earlier.step == 128
    again = Anchors()
    again.restore(json.loads(json.dumps(anchors.state())))
    assert again.earlier == anchors.earlier


def test_losses_are_balanced_over_the_tasks_that_are_there() -> None:
    balance = TaskBalance(scales=(2.0, 4.0), weights=(1.0, 3.0))
    assert balanced((1.0, 3.0), balance) == pytest.approx((0.5 + 3 * 0.75) / 4)
    assert balanced((1.0, math.nan), balance) == pytest.approx(0.5)
    assert math.isnan(balanced((math.nan, math.nan), balance))
