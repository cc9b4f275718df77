from functools import partial

import numpy as np
import pytest

from banyan.tasks.augmentation.edits import (
    BLANK,
    Words,
    delete_words,
    exchange_words,
    hide_words,
    insert_words,
    shuffle_sentences,
    split_sentences,
    swap_words,
)
from banyan.tasks.augmentation.passage import Passage, split_passage

LONG = " ".join(f"word{n}" for n in range(4000))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def text_of(words: Words) -> str:
    return Passage(words=words).text


def other(word: str, generator: np.random.Generator) -> str:
    return "林" if word == "树" else "new"


EDITS = {
    "hide": hide_words,
    "exchange": partial(exchange_words, choose=other),
    "insert": partial(insert_words, choose=other),
    "delete": delete_words,
    "swap": swap_words,
}


@pytest.mark.parametrize("name", EDITS)
def test_a_share_of_zero_changes_nothing_and_what_must_stay_survives_a_share_of_one(name: str) -> None:
    text = "keep New York, not this; 一棵树 in the park."
    words = split_passage(text, kept=[(5, 13), (text.index("棵"), text.index("棵") + 2)]).words
    assert EDITS[name](words, share=0.0, generator=rng()) == words
    changed = EDITS[name](words, share=1.0, generator=rng())
    assert [w.text for w in changed if w.origin is not None] == ["New York", "棵树"]
    assert [w.text for w in changed if not w.may_change and w.text != BLANK] == [
        w.text for w in words if not w.may_change
    ]  # nor are marks touched


@pytest.mark.parametrize("name", ["hide", "exchange", "insert", "delete"])
def test_the_share_of_changed_words_is_the_one_asked_for(name: str) -> None:
    words = split_passage(LONG).words
    changed = EDITS[name](words, share=0.3, generator=rng())
    count = {
        "hide": sum(word.text == BLANK for word in changed),
        "exchange": sum(word.text == "new" for word in changed),
        "insert": len(changed) - len(words),
        "delete": len(words) - len(changed),
    }[name]
    assert count / len(words) == pytest.approx(0.3, abs=0.03)


def test_english_keeps_its_spaces_and_chinese_gets_none() -> None:
    english, chinese = split_passage("Two trees, one.").words, split_passage("树，树。").words
    assert text_of(insert_words(english, 1.0, other, rng())) == "new Two new trees, new one."
    assert text_of(insert_words(chinese, 1.0, other, rng())) == "林树，林树。"
    assert text_of(hide_words(english, 1.0, rng())) == "_ _, _."
    assert text_of(delete_words(split_passage("a b c", kept=[(2, 3)]).words, 1.0, rng())) == "b"


def test_never_are_all_words_left_out() -> None:
    words = split_passage("all of it.").words
    assert delete_words(words, 1.0, rng()) == words


def test_swapped_words_are_the_same_words_each_at_most_carried_on() -> None:
    words = split_passage("a b c d").words
    assert text_of(swap_words(words, 1.0, rng())) == "b c d a"
    assert sorted(text_of(swap_words(words, 0.5, rng())).split()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Smith saw it. He left! Did he?", ["Dr. Smith saw it.", " He left!", " Did he?"]),
        ("独木成林。一棵树！真的吗？是。", ["独木成林。", "一棵树！", "真的吗？", "是。"]),
        ("他说“好。”然后走了。", ["他说“好。”然后走了。"]),
        ("A title\nand 3.5 metres", ["A title", "\nand 3.5 metres"]),
    ],
)
def test_sentences_end_at_full_stops_and_line_breaks(text: str, sentences: list[str]) -> None:
    assert [text_of(sentence) for sentence in split_sentences(split_passage(text).words)] == sentences


def test_sentences_change_their_order_and_nothing_else() -> None:
    text = "One is here.\nTwo is there. Three? 四在这里。五在那里。"
    found = {text_of(shuffle_sentences(split_passage(text).words, np.random.default_rng(seed))) for seed in range(20)}
    assert len(found) > 10
    assert {tuple(sorted(one.replace(" ", "").replace("\n", ""))) for one in found} == {
        tuple(sorted(text.replace(" ", "").replace("\n", "")))
    }
    assert all(one.index("\n") > 0 and not one.startswith(" ") for one in found)
