import pytest

from banyan.tasks.augmentation.passage import gap_between, longest_words, split_passage
from banyan.tasks.units import split_units

TEXTS = ["The banyan's roots  reached\nNew York, twice. ", "独木成林：一棵树，one forest。", " ", "a"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_words_of_a_passage_are_its_text(text: str) -> None:
    passage = split_passage(text)
    assert passage.text == text
    assert [text[start : start + len(w.text)] for w, start in zip(passage.words, passage.starts(), strict=True)] == [
        word.text for word in passage.words
    ]


def test_what_must_stay_is_one_word_up_to_the_borders_of_its_units() -> None:
    text = "we saw New York and 独木成林 there"
    york, trees = text.index("ew Y"), text.index("木成")
    passage = split_passage(text, kept=[(york, york + 4), (trees, trees + 2)])
    kept = {word.text: word.origin for word in passage.words if not word.may_change}
    assert kept == {"New York": text.index("New"), "木成": trees}
    assert passage.places() == {origin: origin for origin in kept.values()}
    assert passage.text == text


def test_stretches_that_overlap_stay_together() -> None:
    passage = split_passage("one two three four", kept=[(0, 7), (4, 13)])
    assert [word.text for word in passage.words] == ["one two three", "four"]


def test_chinese_is_cut_into_the_words_of_a_dictionary_the_longest_first() -> None:
    split = longest_words(["森林", "独木成林", "独木"])
    text = "独木成林是森林, a forest"
    words = [text[unit.start : unit.end] for unit in split(text)]
    assert words == ["独木成林", "是", "森林", ",", "a", "forest"]
    assert longest_words([])(text) == split_units(text)


def test_a_space_stands_between_words_but_not_beside_han() -> None:
    assert [gap_between(*pair) for pair in (("a", "b"), ("树", "b"), ("a", "。"), ("树", "林"))] == [" ", "", "", ""]
