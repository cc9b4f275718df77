import pytest

from banyan.workflows.trends import MAX_STRETCHES, Trend


def test_a_short_stream_is_kept_whole() -> None:
    trend = Trend()
    for value in (3.0, 1.0, 2.0):
        trend.add(value)
    assert trend.course == (3.0, 1.0, 2.0)


@pytest.mark.parametrize("num_values", [64, 1000, 4096])
def test_a_stream_of_any_length_becomes_few_means_in_order(num_values: int) -> None:
    trend = Trend()
    for value in range(num_values):
        trend.add(float(value))
    assert MAX_STRETCHES <= len(trend.course) < 2 * MAX_STRETCHES
    assert list(trend.course) == sorted(trend.course)
    width = trend.course[1] - trend.course[0]
    assert trend.course[0] == (width - 1) / 2 and trend.course[-1] >= num_values - 1.5 * width
