import pytest

from banyan.tasks.baselines.labels import majority_label, tfidf_logistic_regression
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
