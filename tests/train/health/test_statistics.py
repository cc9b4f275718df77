import numpy as np
import pytest

from banyan.train.health.statistics import Usual


def test_the_first_values_count_alike() -> None:
    usual, values = Usual(window=128), [3.0, 5.0, 4.0, 8.0]
    for value in values:
        usual.add(value)
    assert usual.mean == pytest.approx(np.mean(values))
    assert usual.variance == pytest.approx(np.var(values))


def test_a_long_series_is_described_by_its_newest_part() -> None:
    rng, usual = np.random.default_rng(0), Usual(window=128)
    for value in [*rng.normal(9, 1, 500), *rng.normal(2, 0.5, 2000)]:
        usual.add(value)
    assert usual.mean == pytest.approx(2, abs=0.2)
    assert usual.std == pytest.approx(0.5, abs=0.1)


def test_what_was_saved_goes_on_alike() -> None:
    usual = Usual(window=8)
    for value in range(20):
        usual.add(value)
    again = Usual(**usual.state())
    for both in (usual, again):
        both.add(3.0)
    assert again == usual
