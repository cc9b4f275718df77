"""Calibration errors beside a plain loop, temperatures beside PyTorch's own optimiser."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from banyan.core.errors import DataError
from banyan.tasks.metrics.calibration import fit_share, fit_temperature, measure_calibration, pooled, tempered

answers = st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), min_size=1, max_size=60)


def plain_error(pairs: list[tuple[float, bool]]) -> float:
    error = 0.0
    for number in range(15):
        inside = [pair for pair in pairs if number / 15 < pair[0] <= (number + 1) / 15]
        if inside:
            gap = sum(right for _, right in inside) / len(inside) - sum(prob for prob, _ in inside) / len(inside)
            error += abs(gap) * len(inside) / len(pairs)
    return error


@settings(max_examples=60, deadline=None)
@given(answers)
def test_the_error_is_that_of_the_definition(pairs: list[tuple[float, bool]]) -> None:
    probs, right = zip(*pairs, strict=True)
    assert measure_calibration(probs, right).scores()["ece"] == pytest.approx(plain_error(pairs), abs=1e-9)


def test_bins_of_equal_size_hold_equally_many() -> None:
    probs = np.linspace(0.9, 0.999, 30)
    right = np.arange(30) % 2 == 0
    pairs = list(zip(probs, right, strict=True))
    error = sum(
        abs(sum(prob for prob, _ in two) - sum(hit for _, hit in two)) / 30
        for two in (pairs[start : start + 2] for start in range(0, 30, 2))
    )
    assert measure_calibration(probs, right).scores()["adaptive_ece"] == pytest.approx(error)


@given(answers, st.randoms())
def test_the_order_of_the_examples_does_not_matter(pairs: list[tuple[float, bool]], random: object) -> None:
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (measure_calibration(*zip(*rows, strict=True)).scores() for rows in (pairs, shuffled))
    assert one == pytest.approx(other)


def test_a_classifier_that_is_as_sure_as_it_is_right_has_no_error() -> None:
    scores = measure_calibration([0.75] * 4, [True, True, True, False]).scores()
    assert scores == pytest.approx({"ece": 0.0, "adaptive_ece": 0.0})


def test_a_temperature_divides_the_logits() -> None:
    logits = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = tempered(logits.softmax(0).tolist(), 2.5)
    assert found == pytest.approx((logits / 2.5).softmax(0).tolist())
    assert tempered((0.0, 1.0), 3.0) == (0.0, 1.0)


def test_the_fitted_temperature_is_the_likeliest() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(300, 5, dtype=torch.float64, generator=generator)
    expected = torch.multinomial((logits / 2.7).softmax(-1), 1, generator=generator)[:, 0]
    log_temperature = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / log_temperature.exp(), expected)
        value.backward()
        return float(value.detach())

    optimiser.step(loss)
    found = fit_temperature(logits.softmax(-1).tolist(), expected.tolist())
    assert found == pytest.approx(math.exp(float(log_temperature.detach())), rel=1e-4)
    assert 2 < found < 3.5


def test_a_classifier_that_is_always_right_gets_the_lowest_temperature() -> None:
    assert fit_temperature([[0.7, 0.3], [0.2, 0.8]], [0, 1]) == pytest.approx(0.05)


def test_a_pool_adds_up_the_logits_with_their_shares() -> None:
    one, other = torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = pooled(one.softmax(-1).tolist(), other.softmax(-1).tolist(), share=0.3)
    torch.testing.assert_close(torch.tensor(found), (0.7 * one + 0.3 * other).softmax(-1), check_dtype=False)


def test_the_fitted_share_is_the_likeliest_of_all_pairs_of_weights() -> None:
    """Beside PyTorch's optimiser, which is free to choose a weight for each opinion; one of them is far too sure."""
    generator = torch.Generator().manual_seed(3)
    truth = 3 * torch.randn(600, 4, dtype=torch.float64, generator=generator)
    expected = torch.multinomial(truth.softmax(-1), 1, generator=generator)[:, 0]
    noise = 2 * torch.randn(2, 600, 4, dtype=torch.float64, generator=generator)
    opinions = (5 * (truth + 2 * noise[0])).log_softmax(-1), (0.5 * (truth + noise[1])).log_softmax(-1)
    weights = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(weights[0] * opinions[0] + weights[1] * opinions[1], expected)
        value.backward()
        return float(value.detach())

    optimiser.step(loss)
    likeliest = float((weights[1] / weights.sum()).detach())
    found = fit_share(opinions[0].exp().tolist(), opinions[1].exp().tolist(), expected.tolist())
    assert found == pytest.approx(likeliest, abs=0.026) and found > 0.8


def test_of_equally_good_shares_the_most_even_is_taken() -> None:
    rows = [[0.7, 0.3], [0.4, 0.6], [0.8, 0.2]]
    assert fit_share(rows, rows, [0, 1, 1]) == 0.5


def test_what_cannot_be_measured_is_told() -> None:
    with pytest.raises(DataError, match="without examples"):
        fit_share([], [], [])
    with pytest.raises(DataError, match="without examples"):
        fit_temperature([], [])
    with pytest.raises(DataError, match="1 probabilities cannot be scored against 2"):
        measure_calibration([0.5], [True, False])
