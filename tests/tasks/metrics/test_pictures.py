import numpy as np
import pytest

from banyan.core.errors import DataError
from banyan.tasks.metrics.pictures import copied_share, frechet_distance, nearest, precision_and_recall

RNG = np.random.default_rng(0)


def correlated(num: int, *, dim: int, shift: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, dim)) @ rng.normal(size=(dim, dim)) + shift


def test_the_distance_equals_the_plain_formula_with_the_eigenvalues_of_the_product() -> None:
    first, second = correlated(500, dim=12, shift=0.0, seed=1), correlated(400, dim=12, shift=0.7, seed=2)
    a, b = (sum(np.outer(x - own.mean(0), x - own.mean(0)) for x in own) / (len(own) - 1) for own in (first, second))
    trace_of_root = np.sqrt(np.linalg.eigvals(a @ b).real.clip(0)).sum()  # not symmetric: another way to the same sum
    shift = ((first.mean(0) - second.mean(0)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(shift + a.trace() + b.trace() - 2 * trace_of_root, rel=1e-8)


def test_along_the_axes_the_distance_has_a_closed_form() -> None:
    base = np.concatenate([np.eye(6), -np.eye(6)])  # covariance a multiple of one, without correlation
    first, second = base * np.arange(1, 7), base * np.arange(2, 8) + 3.0
    unit = base.var(axis=0, ddof=1)
    expected = 6 * 9 + (unit * (np.arange(2, 8) - np.arange(1, 7)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)


def test_the_distance_of_a_set_from_itself_is_nothing_even_where_features_never_change() -> None:
    flat = np.concatenate([RNG.normal(size=(50, 3)), np.zeros((50, 5))], axis=1)
    assert frechet_distance(flat, flat) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(flat, flat + 2.0) == pytest.approx(4.0 * 8, rel=1e-9)


def test_precision_falls_with_what_no_real_picture_is_like_and_recall_with_what_is_never_drawn() -> None:
    left, right = RNG.normal(size=(200, 2)), RNG.normal(size=(200, 2)) + 100
    both = np.concatenate([left, right])
    one_sided = precision_and_recall(both, RNG.normal(size=(200, 2)))
    assert one_sided.precision > 0.9 and 0.4 < one_sided.recall < 0.55
    beside = precision_and_recall(left, np.concatenate([RNG.normal(size=(100, 2)), right[:100]]))
    assert 0.4 < beside.precision < 0.55 and beside.recall > 0.8


def test_the_nearest_picture_is_found_as_by_looking_at_all_of_them() -> None:
    asked, known = RNG.normal(size=(30, 4)), RNG.normal(size=(50, 4))
    distances, places = nearest(asked, known)
    everything = np.linalg.norm(asked[:, None] - known, axis=2)
    np.testing.assert_array_equal(places, everything.argmin(1))
    np.testing.assert_allclose(distances, everything.min(1), atol=1e-7)


def test_copies_are_told_from_fresh_pictures() -> None:
    train, fresh = RNG.normal(size=(300, 4)), RNG.normal(size=(200, 4))
    real = nearest(RNG.normal(size=(300, 4)), train)[0]
    assert copied_share(nearest(fresh, train)[0], real) < 0.06
    assert copied_share(nearest(train[:100] + 1e-6, train)[0], real) > 0.95


def test_copies_are_told_where_real_pictures_occur_twice_themselves() -> None:
    train = RNG.normal(size=(300, 4)) * 1e3
    real = nearest(np.concatenate([train[:10], RNG.normal(size=(200, 4)) * 1e3]), train)[0]
    assert copied_share(nearest(train[:50], train)[0], real) == 1.0


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros(3), np.full((4, 2), np.nan)])
def test_what_cannot_be_compared_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError):
        frechet_distance(bad, np.zeros((5, 3)))
    with pytest.raises(DataError):
        precision_and_recall(np.zeros((3, 2)), np.zeros((9, 2)))
