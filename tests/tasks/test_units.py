import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import DataError
from banyan.tasks.units import encode_units, find_words, has_unspaced_script, join_words, split_units, words
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary()


def test_words_of_spaced_scripts_and_characters_of_unspaced_ones_are_units() -> None:
    assert words("Café in 北京2024, it's 東京タワー!") == [
        *("Café", "in", "北", "京", "2024", ",", "it", "'s", "東", "京", "タ", "ワ", "ー", "!"),
    ]


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_units_are_in_order_and_leave_out_only_space(text: str) -> None:
    units = split_units(text)
    assert all(a.end <= b.start for a, b in zip(units, units[1:], strict=False))
    assert all(unit.start < unit.end for unit in units)
    covered = {at for unit in units for at in range(unit.start, unit.end)}
    assert all(text[at].isspace() for at in range(len(text)) if at not in covered)


def test_every_character_can_be_a_unit() -> None:
    assert [(unit.start, unit.end) for unit in split_units("a 树", "character")] == [(0, 1), (1, 2), (2, 3)]


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_the_tokens_of_all_units_are_the_text_up_to_the_last_unit(text: str) -> None:
    units = split_units(text)
    encoded = encode_units(text, units, VOCABULARY)
    assert VOCABULARY.decode(encoded.token_ids) == text[: units[-1].end if units else 0]


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_every_unit_has_one_last_token(text: str) -> None:
    encoded = encode_units(text, split_units(text), VOCABULARY)
    assert [encoded.token_units[at] for at in encoded.last_tokens()] == list(range(len(split_units(text))))


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["New", "York", "is", "big", "."], "New York is big ."),
        (["我", "爱", "北京"], "我爱北京"),
        (["我", "爱", "NBA", "和", "rock", "music"], "我爱NBA和rock music"),
        (["N", "B", "A", "很", "好"], "NBA很好"),
        (["I", "a", "m"], "I a m"),
        (["好", "，", "OK", "。"], "好，OK。"),
    ],
    ids=["Latin", "Han", "mixed", "by character", "single letters", "full-width marks"],
)
def test_words_are_joined_as_their_script_is_written(tokens: list[str], text: str) -> None:
    joined, units = join_words(tokens)
    assert joined == text
    assert [joined[unit.start : unit.end] for unit in units] == tokens


def test_words_are_found_where_they_stand_in_their_text() -> None:
    units = find_words("to be  or to be", ["to", "be", "to", "be"])
    assert [(unit.start, unit.end) for unit in units] == [(0, 2), (3, 5), (10, 12), (13, 15)]


@pytest.mark.parametrize("tokens", [["be", "to"], [""], ["tea"]])
def test_a_word_that_is_not_there_is_named(tokens: list[str]) -> None:
    with pytest.raises(DataError, match="does not occur"):
        find_words("to be", tokens)


def test_an_empty_word_cannot_be_tagged() -> None:
    with pytest.raises(DataError, match="word 2 of the row is empty"):
        join_words(["a", ""])


def test_scripts_without_spaces_are_known() -> None:
    assert has_unspaced_script("a 树") and has_unspaced_script("カ") and has_unspaced_script("𠮷")
    assert not has_unspaced_script("Füße, приветливо, 한국")
