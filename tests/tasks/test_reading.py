import pytest

from banyan.core.errors import DataError
from banyan.tasks.classification import Classification
from banyan.tasks.reading import read_examples
from banyan.tasks.translation import Translation

TOPIC = Classification(name="topic", labels=("a", "b"))
GOOD, BAD = {"text": "x", "label": "a"}, {"text": " ", "label": "a"}


def test_a_few_bad_rows_are_left_out_and_reported() -> None:
    read = read_examples(TOPIC, [GOOD] * 120 + [BAD])
    assert len(read.examples) == 120
    assert [(row.number, "blank" in row.problem) for row in read.bad_rows] == [(121, True)]


def test_many_bad_rows_stop_the_work_and_the_first_is_named() -> None:
    with pytest.raises(DataError, match="cannot read 1 of 10 rows; row 4: column 'text' is blank"):
        read_examples(TOPIC, [GOOD] * 3 + [BAD] + [GOOD] * 6)


def test_a_row_can_hold_several_examples() -> None:
    task = Translation(name="mt", both_directions=True)
    assert len(read_examples(task, [{"translation": {"en": "a", "de": "b"}}]).examples) == 2


def test_no_rows_are_no_examples() -> None:
    assert read_examples(TOPIC, []).examples == ()
