"""Three seeds are enough for an interval that holds the truth as often as it says."""

import numpy as np
import pytest
from scipy import stats

from banyan.core.errors import DataError
from banyan.tasks.intervals import compare, resampled_scores
from banyan.tasks.metrics.labels import measure_labels
from banyan.tasks.metrics.measurement import FloatArray, Measurement
from banyan.tasks.repeated_scores import compare_repeated, repeated_interval

NUM_EXAMPLES, NUM_SAMPLES, NUM_TRIALS = 80, 150, 600


def accuracy(right: int, wrong: int) -> Measurement:
    return measure_labels(["a"] * (right + wrong), ["a"] * right + ["b"] * wrong, labels=())


def certain(scores: list[float]) -> FloatArray:
    """Scores that other examples would not change."""
    return np.repeat(np.array(scores)[:, None], 10, axis=1)


def test_two_systems_measured_at_different_times_compare_as_at_once() -> None:
    first, second = accuracy(70, 30), accuracy(60, 40)
    at_once = compare(first, second, score="accuracy")
    own, others = (resampled_scores(one, score="accuracy")[None] for one in (first, second))
    later = compare_repeated([0.7], [0.6], own_samples_SN=own, other_samples_SN=others, score="accuracy")
    assert later.interval == at_once.interval and later.p_value == at_once.p_value
    assert later.improvement == pytest.approx(at_once.improvement)


def test_where_only_seeds_differ_it_is_the_test_of_welch() -> None:
    own, others = [0.71, 0.74, 0.78], [0.70, 0.69, 0.715, 0.68]
    found = compare_repeated(
        own, others, own_samples_SN=certain(own), other_samples_SN=certain(others), score="accuracy"
    )
    welch = stats.ttest_ind(own, others, equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert found.p_value == pytest.approx(welch.pvalue)
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))


def test_one_way_is_as_sure_as_student_says() -> None:
    scores = [0.71, 0.74, 0.78]
    found = repeated_interval(scores, samples_SN=certain(scores))
    expected = stats.t.interval(0.95, 2, loc=np.mean(scores), scale=stats.sem(scores))
    assert (found.low, found.high) == pytest.approx(expected)


def test_a_way_with_one_seed_is_taken_to_vary_as_the_other() -> None:
    own, others = [0.71, 0.74, 0.78], [0.70]
    found = compare_repeated(
        own, others, own_samples_SN=certain(own), other_samples_SN=certain(others), score="accuracy"
    )
    half = stats.t.ppf(0.975, 2) * np.std(own, ddof=1) * np.sqrt(1 / 3 + 1)
    assert found.interval.high - found.improvement == pytest.approx(half)


@pytest.mark.parametrize(
    ("seeds", "examples", "both"),
    [(1.0, 0.0, 0.0), (1.0, 5.0, 0.0), (1.0, 10.0, 3.0), (0.5, 2.0, 5.0), (0.0, 1.0, 1.0)],
    ids=["seeds alone", "seeds and examples", "mostly examples", "mostly single answers", "equal seeds"],
)
def test_the_interval_of_three_seeds_holds_the_truth_in_95_of_100_cases(
    seeds: float, examples: float, both: float
) -> None:
    """Simulated: every seed and every example has its own luck, and so has each answer; the two ways are equal."""
    generator = np.random.default_rng(0)
    weights = generator.multinomial(NUM_EXAMPLES, np.full(NUM_EXAMPLES, 1 / NUM_EXAMPLES), size=NUM_SAMPLES)
    held = 0
    for _ in range(NUM_TRIALS):
        own, others = (
            seeds * generator.normal(size=(3, 1))
            + examples * generator.normal(size=NUM_EXAMPLES)
            + both * generator.normal(size=(3, NUM_EXAMPLES))
            for _ in range(2)
        )
        found = compare_repeated(
            own.mean(axis=1).tolist(),
            others.mean(axis=1).tolist(),
            own_samples_SN=own @ weights.T / NUM_EXAMPLES,
            other_samples_SN=others @ weights.T / NUM_EXAMPLES,
            score="accuracy",
        )
        held += found.interval.low <= 0 <= found.interval.high
        assert (found.p_value >= 0.05) == (found.interval.low <= 0 <= found.interval.high)
    assert 0.925 <= held / NUM_TRIALS <= 0.975


def test_scores_without_their_resamples_are_refused() -> None:
    with pytest.raises(DataError, match="2 scores and 1 rows of resampled ones"):
        repeated_interval([0.5, 0.6], samples_SN=np.zeros((1, 10)))
