import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from banyan.core.errors import DataError
from banyan.tasks.intervals import compare, confidence_intervals, holm
from banyan.tasks.metrics.labels import measure_labels
from banyan.tasks.metrics.likelihood import measure_bits
from banyan.tasks.metrics.measurement import Measurement


def accuracy(right: int, wrong: int) -> Measurement:
    return measure_labels(["a"] * (right + wrong), ["a"] * right + ["b"] * wrong, labels=())


def test_the_interval_of_an_accuracy_is_the_binomial_one() -> None:
    interval = confidence_intervals(accuracy(70, 30), num_samples=4000)["accuracy"]
    half_width = 1.96 * np.sqrt(0.7 * 0.3 / 100)
    assert interval.low == pytest.approx(0.7 - half_width, abs=0.015)
    assert interval.high == pytest.approx(0.7 + half_width, abs=0.015)


def test_the_interval_covers_the_truth_in_95_of_100_test_sets() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        right = int(generator.binomial(200, 0.6))
        interval = confidence_intervals(accuracy(right, 200 - right), num_samples=200, seed=seed)["accuracy"]
        covered += interval.low <= 0.6 <= interval.high
    assert covered / 100 >= 0.88


def test_every_score_gets_an_interval_around_it() -> None:
    measured = accuracy(7, 3)
    intervals = confidence_intervals(measured)
    assert intervals.keys() == measured.scores().keys()
    assert all(intervals[name].low <= value <= intervals[name].high for name, value in measured.scores().items())


def test_the_same_seed_gives_the_same_interval() -> None:
    measured = measure_bits(np.random.default_rng(0).normal(100, 30, size=20), [10] * 20)
    first, again, other = (confidence_intervals(measured, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_pairs_that_always_differ_the_same_way_are_certain() -> None:
    """Two noisy systems whose difference has no noise: only resampling them together can see that."""
    noise = np.random.default_rng(0).normal(100, 30, size=50)
    better, worse = (measure_bits(noise + shift, [10] * 50) for shift in (0, 5))
    comparison = compare(better, worse, score="bits_per_byte")
    assert comparison.improvement == pytest.approx(0.5)
    assert comparison.interval.low == pytest.approx(0.5) == comparison.interval.high
    assert comparison.is_better and not comparison.is_worse


def test_a_decrease_is_an_improvement_where_lower_is_better() -> None:
    low, high = measure_bits([10.0] * 5, [10] * 5), measure_bits([20.0] * 5, [10] * 5)
    assert compare(low, high, score="bits_per_byte").is_better
    assert compare(high, low, score="bits_per_byte").is_worse


def test_a_difference_within_the_noise_is_neither_better_nor_worse() -> None:
    comparison = compare(accuracy(51, 49), accuracy(50, 50), score="accuracy")
    better_by_luck = compare(accuracy(3, 1), accuracy(2, 2), score="accuracy")
    assert comparison.improvement == pytest.approx(0.01)
    assert not comparison.is_better and not better_by_luck.is_better


def test_systems_must_be_scored_on_the_same_examples_by_the_same_score() -> None:
    with pytest.raises(DataError, match="2 and 3 examples"):
        compare(accuracy(1, 1), accuracy(2, 1), score="accuracy")
    with pytest.raises(DataError, match="'f1' was not measured; there are accuracy"):
        compare(accuracy(1, 1), accuracy(1, 1), score="f1")
    with pytest.raises(DataError, match="no examples"):
        confidence_intervals(accuracy(0, 0))


def test_the_p_value_of_a_difference_is_that_of_the_sign_test() -> None:
    generator = np.random.default_rng(2)
    ours, theirs = generator.random(400) < 0.62, generator.random(400) < 0.55
    first, second = (
        measure_labels(["a"] * 400, ["a" if hit else "b" for hit in hits], labels=()) for hits in (ours, theirs)
    )
    lost, won = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    found = compare(first, second, score="accuracy", num_samples=8000)
    assert found.p_value == pytest.approx(binomtest(lost, lost + won).pvalue, abs=0.03)
    assert compare(first, first, score="accuracy").p_value == 1.0


def test_a_p_value_is_never_zero() -> None:
    assert compare(accuracy(100, 0), accuracy(0, 100), score="accuracy", num_samples=99).p_value == pytest.approx(0.02)


@given(st.lists(st.floats(0.0001, 1.0), max_size=8))
def test_holm_rejects_what_the_step_down_test_rejects(p_values: list[float]) -> None:
    rejected = set()
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] * (len(p_values) - rank) >= 0.05:
            break
        rejected.add(place)
    assert {place for place, value in enumerate(holm(p_values)) if value < 0.05} == rejected
