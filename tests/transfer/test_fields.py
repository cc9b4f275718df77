import pytest

from banyan.core.errors import CheckpointError
from banyan.transfer.fields import Fields


def fields(**values: object) -> Fields:
    return Fields(values, source="config.json")


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8", None, [8], 2**40])
def test_a_count_is_a_whole_number_of_believable_size(value: object) -> None:
    assert fields(n=8).count("n") == 8
    with pytest.raises(CheckpointError, match="config.json: n=.* must be a whole number"):
        fields(n=value).count("n")


@pytest.mark.parametrize("value", [0, -1.0, True, "1e-5", float("nan"), float("inf")])
def test_a_number_is_above_nothing_and_below_infinity(value: object) -> None:
    assert fields(n=1).number("n") == 1.0
    with pytest.raises(CheckpointError, match="must be a number above 0"):
        fields(n=value).number("n")


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_flag_is_true_or_false_and_nothing_like_it(value: object) -> None:
    with pytest.raises(CheckpointError, match="must be true or false"):
        fields(n=value).flag("n", default=True)


def test_a_missing_field_takes_its_default_or_is_named() -> None:
    assert fields().flag("tied", default=True)
    with pytest.raises(CheckpointError, match="config.json: hidden_size is missing"):
        fields().count("hidden_size")


def test_an_expected_value_tells_one_from_true() -> None:
    fields(n=1.0).expect("n", (1,), default=1)
    with pytest.raises(CheckpointError, match="n=True: Banyan has no switch for this; it computes 1"):
        fields(n=True).expect("n", (1,), default=1)


def test_a_long_value_is_shortened_to_one_line() -> None:
    error = fields(n=list(range(1000))).refusal("n", "no")
    assert len(str(error)) < 120 and "\n" not in str(error)


def test_the_fields_that_were_asked_for_are_remembered() -> None:
    read = fields(a=1, b="x", c=3)
    read.count("a"), read.word("b"), read.words("gone"), read.mapping("gone")
    assert read.asked == {"a", "b", "gone"}
    with pytest.raises(CheckpointError, match="c=3: Banyan has no switch"):
        read.only({"a", "b"})
