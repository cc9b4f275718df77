from banyan.core.types import Prediction
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.tasks.summarization import Summarization, SummaryExample
from banyan.tasks.translation import Translation
from banyan.workflows.judged_answers import JudgedAnswer, best_and_worst, judge_answers

TOPIC = Classification(name="topic", labels=("tree", "树"))


def answered(label: str, sure: float) -> Prediction:
    return Prediction(task="topic", text=label, score=sure, labels={label: sure})


def test_a_label_is_right_or_wrong_and_the_surest_come_first() -> None:
    examples = [ClassificationExample(text=text, label="tree") for text in "abcd"]
    predictions = [answered("tree", 0.6), answered("树", 0.7), answered("树", 0.9), answered("tree", 0.8)]
    judged = judge_answers(TOPIC, examples, predictions)
    assert [own.is_right for own in judged] == [True, False, False, True]
    assert [own.example.text for own in best_and_worst(judged, num=2)] == ["d", "a", "c", "b"]
    assert [own.example.text for own in best_and_worst(judged, num=1)] == ["d", "c"]


def test_a_translation_is_judged_by_its_own_direction_alone() -> None:
    task = Translation(name="mt", both_directions=True)
    rows = [{"translation": {"en": "a big old tree", "de": "ein großer alter Baum"}}]
    examples = [example for row in rows for example in task.examples_from_row(row)]
    answers = [Prediction(task="mt", text=text) for text in ("ein großer alter Baum", "a big old trunk")]
    judged = judge_answers(task, examples, answers)
    assert judged[0].score == 1.0 and 0.5 < judged[1].score < 1.0
    assert all(own.is_right for own in judged)


def test_a_written_answer_is_right_by_its_own_score() -> None:
    task = Summarization(name="sum")
    examples = [SummaryExample(document="a tree", summaries=("the banyan grows",))] * 3
    texts = ("the banyan grows", "the banyan grows old today", "something else")
    judged = judge_answers(task, examples, [Prediction(task="sum", text=text) for text in texts])
    assert [own.is_right for own in judged] == [True, True, False]
    assert judged[0].score == 1.0 and judged[2].score == 0.0
    worst: JudgedAnswer = best_and_worst(judged, num=1)[1]
    assert worst.prediction.text == "something else"
