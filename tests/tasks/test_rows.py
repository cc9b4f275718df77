import pytest

from banyan.core.errors import DataError
from banyan.tasks.rows import (
    fill_template,
    label_column,
    list_column,
    needed_columns,
    rename_columns,
    row_from_json,
    source_text,
    text_column,
)


def test_the_users_columns_are_read_under_our_names() -> None:
    assert rename_columns({"review": "good"}, {"text": "review"})["text"] == "good"


def test_a_row_that_has_our_column_needs_no_other() -> None:
    assert rename_columns({"text": "good"}, {"text": "review"})["text"] == "good"


def test_the_users_column_wins_over_one_that_happens_to_have_our_name() -> None:
    assert rename_columns({"text": "id 7", "review": "good"}, {"text": "review"})["text"] == "good"


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(DataError, match="no 'review'; its columns: body, stars") as caught:
        rename_columns({"body": "x", "stars": 5}, {"text": "review"})
    assert "columns: {text: body}" in (caught.value.hint or "")


def test_the_answers_columns_are_not_needed_for_a_question() -> None:
    columns = {"text": "review", "label": "stars"}
    assert needed_columns(columns, False, answers=("label",)) == {"text": "review"}
    assert needed_columns(columns, True, answers=("label",)) == columns


@pytest.mark.parametrize(("value", "message"), [("  ", "blank"), (["a"], "must hold a text, got list")])
def test_a_text_column_holds_a_text(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        text_column({"text": value}, "text")


def test_numbers_are_texts_too() -> None:
    assert text_column({"text": 1984}, "text") == "1984"


def test_a_list_column_holds_a_list() -> None:
    assert list_column({"tags": ("O",)}, "tags") == ["O"]
    with pytest.raises(DataError, match="must hold a list, got str"):
        list_column({"tags": "O"}, "tags")


@pytest.mark.parametrize("text", ["{", '{"a":' * 100_000, '{"a": ' + "9" * 5_000 + "}"], ids=["no", "deep", "long"])
def test_a_row_of_json_that_cannot_be_read_is_an_error_in_the_data(text: str) -> None:
    with pytest.raises(DataError, match="no JSON that can be read"):
        row_from_json(text)


def test_a_template_never_reaches_into_a_value() -> None:
    assert (
        fill_template("{text} {text.__class__} {}", {"text": "{label}", "label": "x"}) == "{label} {text.__class__} {}"
    )


def test_a_question_with_a_text_needs_no_template() -> None:
    assert source_text({"text": "as typed"}, template="{title}: {body}") == "as typed"
    assert source_text({"text": "no", "title": "T", "body": "B"}, template="{title}: {body}") == "T: B"


def test_a_number_names_a_label_unless_numbers_are_the_labels() -> None:
    assert label_column({"label": 1}, ("no", "yes")) == "yes"
    assert label_column({"label": 1}, ("1", "0")) == "1"
    with pytest.raises(DataError, match="'7' is not one of the task's 2 labels"):
        label_column({"label": 7}, ("no", "yes"))
