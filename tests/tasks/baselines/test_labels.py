import math
from collections import Counter

import pytest

from banyan.tasks.baselines.labels import majority_label, naive_bayes, tfidf_logistic_regression
from banyan.tasks.classification import ClassificationExample


def examples(*pairs: tuple[str, str]) -> list[ClassificationExample]:
    return [ClassificationExample(text=text, label=label) for text, label in pairs]


TRAIN = examples(
    *[("the match ended two to one", "sport"), ("a goal in the last minute", "sport"), ("球队赢了比赛", "sport")],
    *[("shares fell on the market", "money"), ("the bank raised its rate", "money"), ("银行提高利率", "money")],
    ("the market closed", "money"),
)


def test_the_commonest_label_is_always_answered_with_the_share_of_each() -> None:
    predictions = majority_label("topic", TRAIN)(TRAIN[:2])
    assert [prediction.text for prediction in predictions] == ["money", "money"]
    assert predictions[0].labels == pytest.approx({"money": 4 / 7, "sport": 3 / 7})


def test_words_and_characters_tell_labels_apart() -> None:
    answer = tfidf_logistic_regression("topic", TRAIN, seed=0)
    asked = examples(("a late goal", ""), ("the rate of the bank", ""), ("比赛", ""), ("利率", ""))
    assert [prediction.text for prediction in answer(asked)] == ["sport", "money", "sport", "money"]


def test_probabilities_are_ranked_and_sum_to_one() -> None:
    (prediction,) = tfidf_logistic_regression("topic", TRAIN, seed=0)(TRAIN[:1])
    assert prediction.labels is not None
    assert list(prediction.labels.values()) == sorted(prediction.labels.values(), reverse=True)
    assert sum(prediction.labels.values()) == pytest.approx(1)
    assert prediction.score == prediction.labels[prediction.text]


def test_a_text_of_unknown_words_gets_an_answer_too() -> None:
    (prediction,) = tfidf_logistic_regression("topic", TRAIN, seed=0)(examples(("?", "")))
    assert prediction.text in {"sport", "money"}


def test_a_single_label_needs_no_regression() -> None:
    (prediction,) = tfidf_logistic_regression("topic", TRAIN[:3], seed=0)(TRAIN[-1:])
    assert prediction.text == "sport"


def test_naive_bayes_multiplies_the_smoothed_shares_of_the_words_that_occur() -> None:
    train = examples(("a b", "x"), ("a a", "x"), ("b c", "y"))
    (prediction,) = naive_bayes("topic", train)(examples(("b", "")))
    # words and pairs, each counted once a text: x has a, b, "a b", a, "a a"; y has b, c, "b c"
    vocabulary = {"a", "b", "c", "a b", "a a", "b c"}
    seen = {"x": Counter(["a", "b", "a b", "a", "a a"]), "y": Counter(["b", "c", "b c"])}
    prior = {"x": 2 / 3, "y": 1 / 3}
    joint = {
        label: prior[label] * (counts["b"] + 0.3) / (sum(counts.values()) + 0.3 * len(vocabulary))
        for label, counts in seen.items()
    }
    assert prediction.labels is not None
    for label, value in joint.items():
        assert math.isclose(prediction.labels[label], value / sum(joint.values()), rel_tol=1e-9)


def test_naive_bayes_of_a_single_label_always_answers_it() -> None:
    (prediction,) = naive_bayes("topic", TRAIN[:3])(TRAIN[-1:])
    assert prediction.text == "sport"
