import numpy as np
import pytest
from scipy.stats import spearmanr

from banyan.workflows.rank_correlation import rank_correlation


@pytest.mark.parametrize("num_values", [2, 7, 40])
def test_it_is_spearmans_also_where_values_are_equal(num_values: int) -> None:
    draw = np.random.default_rng(num_values)
    first, second = draw.integers(0, 9, num_values), draw.integers(0, 9, num_values)
    assert rank_correlation(first.tolist(), second.tolist()) == pytest.approx(spearmanr(first, second).statistic)


def test_what_orders_nothing_is_like_nothing() -> None:
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) == 0.0
