import pytest

from banyan.core.errors import DataError
from banyan.core.types import Row
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


@pytest.mark.parametrize(
    ("rows", "share", "hint"),
    [([GOOD, BAD], 0.01, "data.max_bad_share"), ([GOOD, BAD], 0, None), ([{"txt": "x"}] * 2, 0.01, "name the column")],
    ids=["some of many", "none may be bad", "all of them"],
)
def test_the_next_step_is_to_leave_rows_out_only_where_others_can_be_read(
    rows: list[Row], share: float, hint: str | None
) -> None:
    with pytest.raises(DataError) as caught:
        read_examples(TOPIC, rows, max_bad_fraction=share)
    assert (hint in (caught.value.hint or "")) if hint else "max_bad_share" not in (caught.value.hint or "")


def test_a_row_can_hold_several_examples() -> None:
    task = Translation(name="mt", both_directions=True)
    assert len(read_examples(task, [{"translation": {"en": "a", "de": "b"}}]).examples) == 2


def test_no_rows_are_no_examples() -> None:
    assert read_examples(TOPIC, []).examples == ()
