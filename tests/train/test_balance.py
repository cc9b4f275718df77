import math

import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.core.types import HeadKind, HeadSpec
from banyan.train.balance import TaskBalance, balance_tasks, task_scale

LABELS = HeadSpec(name="x", kind=HeadKind.CLASSIFICATION, labels=("a", "b", "c", "d"))
SPANS = HeadSpec(name="y", kind=HeadKind.SPAN)


def test_a_guesser_has_loss_one_in_every_task() -> None:
    assert task_scale(None, num_choices=500) == math.log(500)
    assert task_scale(LABELS, num_choices=500) == math.log(4)
    assert task_scale(SPANS, num_choices=50) == math.log(50)
    assert task_scale(HeadSpec(name="z", kind=HeadKind.TAGGING, labels=("O",)), num_choices=1) == math.log(2)


def test_the_loss_is_the_weighted_mean_of_scaled_means_over_present_tasks() -> None:
    balance = TaskBalance(scales=(2.0, 4.0, 8.0), weights=(1.0, 3.0, 5.0))
    sums, weight_sums = torch.tensor([6.0, 20.0, 0.0]), torch.tensor([3.0, 2.0, 0.0])
    loss = float((sums * balance.factors(weight_sums)).sum())
    assert loss == pytest.approx((1.0 * (6 / 3) / 2 + 3.0 * (20 / 2) / 4) / (1 + 3))


def test_an_absent_task_counts_nothing() -> None:
    factors = TaskBalance(scales=(1.0, 1.0), weights=(1.0, 1.0)).factors(torch.tensor([4.0, 0.0]))
    assert factors.tolist() == [0.25, 0.0]


def test_tasks_weigh_the_same_unless_told_otherwise() -> None:
    assert balance_tasks((None, LABELS), num_choices=(100, 0)).weights == (1.0, 1.0)
    assert balance_tasks((None, LABELS), num_choices=(100, 0), weights=(2.0, 1.0)).weights == (2.0, 1.0)


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, math.nan), (1.0, -1.0)])
def test_weights_that_make_no_sense_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="task weights"):
        TaskBalance(scales=(1.0, 1.0), weights=weights)
