import pytest

from banyan.core.errors import ConfigError
from banyan.store.times import MICROSECONDS, iso_time, parse_time, utc_microseconds

NOW = 1_800_000_000 * MICROSECONDS


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 604800), (" 1w ", 604800)]
)
def test_an_age_is_counted_back_from_now(text: str, seconds: int) -> None:
    assert parse_time(text, now=NOW) == NOW - seconds * MICROSECONDS


@pytest.mark.parametrize("text", ["2026-03-01", "2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00"])
def test_a_date_is_utc_unless_it_says_more(text: str) -> None:
    assert iso_time(parse_time(text, now=NOW)) == "2026-03-01T00:00:00Z"


@pytest.mark.parametrize("text", ["", "yesterday", "5", "h", "-3h", "2026-13-01", "1e9s"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a time"):
        parse_time(text, now=NOW)


def test_a_stored_time_is_written_to_the_microsecond() -> None:
    assert iso_time(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"
    assert iso_time(None) is None
    assert iso_time(utc_microseconds()) > "2020"  # type: ignore[operator]
