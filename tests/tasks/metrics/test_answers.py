import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.tasks.metrics.answers import answer_tokens, measure_answers, score_answer


def official_tokens(text: str) -> list[str]:
    """The normaliser of the official SQuAD 2.0 script, word for word."""
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text).split()).split()


def official_f1(gold: str, prediction: str) -> float:
    """`compute_f1` of the official SQuAD 2.0 script."""
    due, given_ = official_tokens(gold), official_tokens(prediction)
    num_same = sum((Counter(due) & Counter(given_)).values())
    if len(due) == 0 or len(given_) == 0:
        return float(due == given_)
    if num_same == 0:
        return 0.0
    precision, recall = num_same / len(given_), num_same / len(due)
    return 2 * precision * recall / (precision + recall)


english = st.lists(st.sampled_from(["The", "a", "an", "tree,", "Banyan", "theory", "it's", "—", "42", "(x)"])).map(
    " ".join
)


@given(english, english)
def test_english_is_scored_as_the_official_script_does(gold: str, prediction: str) -> None:
    exact, f1 = score_answer([gold], prediction)
    assert exact == float(official_tokens(gold) == official_tokens(prediction))
    assert f1 == pytest.approx(official_f1(gold, prediction))


def test_chinese_is_scored_by_character() -> None:
    assert answer_tokens("《独木》 NBA成林，2024年。") == ["独", "木", "nba", "成", "林", "2024", "年"]
    exact, f1 = score_answer(["独木成林"], "独木成舟。")
    assert (exact, f1) == (0.0, 0.75)
    assert score_answer(["东京"], "《东京》") == (1.0, 1.0)


def test_the_best_reference_counts() -> None:
    assert score_answer(["a fig", "the banyan tree"], "banyan tree") == (1.0, 1.0)


def test_a_reference_of_nothing_but_articles_counts_only_where_there_is_no_other() -> None:
    """As in the official SQuAD 2.0 script, which drops such references."""
    assert score_answer(["The", "The Band"], "") == (0.0, 0.0)
    assert score_answer(["The"], "a") == (1.0, 1.0)


@pytest.mark.parametrize(
    ("references", "answer", "score"), [([], "", 1.0), ([""], "", 1.0), ([], "x", 0), (["x"], "", 0)]
)
def test_no_answer_is_right_only_where_there_is_none(references: list[str], answer: str, score: float) -> None:
    assert score_answer(references, answer) == (score, score)


def test_answerable_and_unanswerable_questions_are_told_apart() -> None:
    scores = measure_answers([["x y"], [], []], ["x", "", "z"]).scores()
    assert scores["f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scores["exact_match"] == pytest.approx(1 / 3)
    assert scores["f1_answerable"] == pytest.approx(2 / 3)
    assert scores["accuracy_unanswerable"] == 0.5


def test_without_unanswerable_questions_there_are_two_scores() -> None:
    assert set(measure_answers([["x"]], ["x"]).scores()) == {"f1", "exact_match"}
