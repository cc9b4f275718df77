from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import ConfigError, DataError, UnknownNameError
from banyan.data.mixture import MixtureConfig, MixturePoint, mixture_rates, rate_plan


@given(
    st.dictionaries(st.text(min_size=1), st.integers(1, 10**7), min_size=1, max_size=8),
    st.floats(1, 10),
    st.integers(1, 10**6),
)
def test_rates_sum_to_one_and_grow_with_size(sizes: dict[str, int], temperature: float, size_cap: int) -> None:
    rates = mixture_rates(sizes, MixtureConfig(temperature=temperature, size_cap=size_cap))
    assert sum(rates.values()) == pytest.approx(1)
    by_size = sorted(sizes, key=lambda name: sizes[name])
    assert all(rates[a] <= rates[b] for a, b in zip(by_size, by_size[1:], strict=False))


def test_temperature_two_gives_shares_like_the_square_root() -> None:
    rates = mixture_rates({"small": 100, "large": 10_000}, MixtureConfig(temperature=2))
    assert rates["large"] / rates["small"] == pytest.approx(10)


def test_examples_beyond_the_cap_do_not_count() -> None:
    rates = mixture_rates({"a": 1000, "b": 10**9}, MixtureConfig(size_cap=1000))
    assert rates["a"] == rates["b"]


def test_a_given_rate_is_kept_and_the_others_share_the_rest() -> None:
    rates = mixture_rates({"lm": 7, "x": 100, "y": 100}, MixtureConfig(rates={"lm": 0.4}))
    assert rates == pytest.approx({"lm": 0.4, "x": 0.3, "y": 0.3})


def test_rates_given_for_all_tasks_are_proportions() -> None:
    assert mixture_rates({"x": 1, "y": 1}, MixtureConfig(rates={"x": 0.1, "y": 0.3})) == pytest.approx(
        {"x": 0.25, "y": 0.75}
    )


def test_rates_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ConfigError, match="leaves nothing for y"):
        mixture_rates({"x": 1, "y": 1}, MixtureConfig(rates={"x": 1.0}))
    with pytest.raises(UnknownNameError, match="did you mean tagging"):
        mixture_rates({"tagging": 1}, MixtureConfig(rates={"taging": 0.5}))
    with pytest.raises(DataError, match="'x' has no training examples"):
        mixture_rates({"x": 0}, MixtureConfig())


@pytest.mark.parametrize("bad", [{"temperature": 0.5}, {"size_cap": 0}, {"rates": {"x": 0.0}}, {"rates": {"x": 1.5}}])
def test_a_config_out_of_range_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        MixtureConfig(**bad)  # type: ignore[arg-type]


def test_in_proportion_a_task_has_the_share_of_its_examples_however_many() -> None:
    rates = mixture_rates({"a": 10, "b": 990_000_000}, MixtureConfig(method="proportional"))
    assert rates["a"] == pytest.approx(10 / 990_000_010)


def test_equal_shares_do_not_look_at_sizes_and_leave_given_rates_alone() -> None:
    config = MixtureConfig(method="equal", rates={"a": 0.5})
    assert mixture_rates({"a": 1, "b": 10, "c": 10**6}, config) == {"a": 0.5, "b": 0.25, "c": 0.25}


SCHEDULE = (MixturePoint(at=0.2, rates={"a": 0.8}), MixturePoint(at=0.6, rates={"a": 0.2}), MixturePoint(at=0.9))
SIZES = {"a": 100, "b": 100}


def test_what_is_due_is_the_integral_of_shares_that_move_in_straight_lines() -> None:
    plan = rate_plan(SIZES, MixtureConfig(schedule=SCHEDULE))
    assert plan is not None
    fine = np.linspace(0, 1.2, 120_001)
    shares = np.interp(fine, [0.2, 0.6, 0.9], [0.8, 0.2, 0.5])
    sums = np.concatenate(([0.0], np.cumsum((shares[1:] + shares[:-1]) / 2 * np.diff(fine))))
    for part in (0.0, 0.1, 0.2, 0.37, 0.6, 0.75, 0.9, 1.0, 1.2):
        a, b = plan.due(part)
        assert a == pytest.approx(np.interp(part, fine, sums), abs=1e-6)
        assert a + b == pytest.approx(part)


def test_a_schedule_begins_with_the_rates_of_its_first_point() -> None:
    plan = rate_plan(SIZES, MixtureConfig(rates={"b": 0.3}, schedule=(MixturePoint(at=0.5, rates={"b": 0.1}),)))
    assert plan is not None and plan.rates_at_start == pytest.approx({"a": 0.9, "b": 0.1})


def test_without_a_schedule_there_is_no_plan() -> None:
    assert rate_plan(SIZES, MixtureConfig()) is None


@pytest.mark.parametrize("moments", [(0.5, 0.5), (0.6, 0.2)])
def test_points_of_a_schedule_come_one_after_another(moments: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"mixture\.schedule"):
        MixtureConfig(schedule=tuple(MixturePoint(at=moment) for moment in moments))


def test_a_point_outside_the_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="at=1.5"):
        MixturePoint(at=1.5)


@pytest.mark.parametrize("changes", [{"slow_after": 0}, {"slow_factor": 0.0}])
def test_a_pace_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"mixture\.slow"):
        MixtureConfig(**changes)
