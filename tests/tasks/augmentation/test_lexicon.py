import numpy as np
import pytest

from banyan.tasks.augmentation.lexicon import WordPool, telling_words


def test_words_are_drawn_as_often_as_they_occur_and_from_their_own_script() -> None:
    pool, generator = WordPool({"tree": 3, "root": 1, "树": 5}), np.random.default_rng(0)
    drawn = [pool.draw("oak", generator) for _ in range(2000)]
    assert set(drawn) == {"tree", "root"}
    assert drawn.count("tree") / len(drawn) == pytest.approx(0.75, abs=0.04)
    assert pool.draw("林", generator) == "树"
    assert WordPool({"树": 1}).draw("oak", generator) is None


def test_words_that_give_the_label_away_are_found_and_common_ones_are_not() -> None:
    good = [(["A", "good", "film", f"name{n}"], "pos") for n in range(20)]
    bad = [(["a", "bad", "film", f"thing{n}"], "neg") for n in range(20)]
    assert telling_words([*good, *bad]) == {"good", "bad"}


def test_texts_of_one_label_have_no_telling_words() -> None:
    assert not telling_words([(["a"], "one"), (["b"], "one")]) and not telling_words([])
