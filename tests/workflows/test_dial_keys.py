import pytest

from banyan.core.errors import ConfigError
from banyan.workflows.dial_keys import Budget, parse_budget, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"), [("30min", 1800), ("2h", 7200), ("90s", 90), ("1.5 h", 5400), ("1d", 86400), ("45sec", 45)]
)
def test_budgets_of_time_are_seconds(text: str, seconds: float) -> None:
    assert parse_budget(text) == Budget(seconds=seconds)


def test_budgets_of_arithmetic_are_operations() -> None:
    assert parse_budget("1e15flops") == parse_budget("1E15 FLOPs") == Budget(flops=1e15)


@pytest.mark.parametrize("text", ["", "30", "min", "0min", "-3h", "5 weeks", "1e15", "nan s"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no budget") as caught:
        parse_budget(text)
    assert "30min" in str(caught.value.hint)


def test_a_size_is_a_number_of_weights_or_a_preset() -> None:
    assert [parse_size(text) for text in ("3M", "124m", "1.5B", "300k", "3000000")] == [3e6, 124e6, 1.5e9, 3e5, 3e6]
    assert parse_size("banyan-micro") == "banyan-micro"


@pytest.mark.parametrize("text", ["", "small", "3 tons", "5", "-3M"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no size") as caught:
        parse_size(text)
    assert "banyan-nano" in str(caught.value.hint)
