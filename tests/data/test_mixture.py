import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import ConfigError, DataError, UnknownNameError
from banyan.data.mixture import MixtureConfig, mixture_rates


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
