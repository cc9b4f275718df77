import numpy as np
import pytest

from banyan.tasks.metrics.measurement import Measurement, f1_score, ratio


def mean(values: list[float], *, name: str) -> Measurement:
    statistics = np.array([[value, 1.0] for value in values])
    return Measurement(
        statistics=statistics,
        summarize=lambda totals: {name: totals[0] / totals[1]},
        signatures={name: "mean"},
        lower_is_better=frozenset({name}),
    )


def test_scores_come_from_the_sums_over_examples() -> None:
    assert mean([1, 2, 6], name="x").scores() == {"x": 3.0}
    assert len(mean([1, 2, 6], name="x")) == 3


def test_two_measurements_stand_beside_each_other() -> None:
    both = mean([1, 3], name="x").beside(mean([5, 7], name="y"))
    assert both.scores() == {"x": 2.0, "y": 6.0}
    assert both.lower_is_better == {"x", "y"}


def test_scores_can_be_renamed_and_left_out() -> None:
    renamed = mean([1, 3], name="x").beside(mean([5, 7], name="y")).renamed({"y": "z"})
    assert renamed.scores() == {"z": 6.0}
    assert (renamed.signatures, renamed.lower_is_better) == ({"z": "mean"}, {"z"})


def test_nothing_out_of_nothing_is_zero() -> None:
    assert ratio(0, 0) == f1_score(0, 0, 0) == 0.0
    assert f1_score(1, 2, 4) == pytest.approx(2 * 0.5 * 0.25 / 0.75)
