from banyan.tasks.baselines.spans import FixedSpan, best_fixed_span
from banyan.tasks.question_answering import QuestionExample, ReferenceSpan
from banyan.tasks.units import split_units


def example(context: str, answer: str | None) -> QuestionExample:
    spans = () if answer is None else (ReferenceSpan(text=answer, start=context.index(answer)),)
    return QuestionExample(question="?", context=context, answers=spans)


def test_the_stretch_that_is_most_often_right_is_always_answered() -> None:
    train = [
        example("one big oak grows", "big oak"),
        example("that old fig stands", "old fig"),
        example("x y z", "y z"),
    ]
    predictions = best_fixed_span("qa", train, seed=0)([example("this tall elm fell", None), example("独木成林", None)])
    assert [prediction.text for prediction in predictions] == ["tall elm", "木成"]
    assert predictions[0].span == (5, 13)


def test_no_answer_is_a_candidate_too() -> None:
    train = [example("p q", None), example("r s", None), example("t u", "t")]
    (prediction,) = best_fixed_span("qa", train, seed=0)(train[:1])
    assert (prediction.text, prediction.span) == ("", None)


def test_a_context_that_ends_before_the_stretch_has_no_answer() -> None:
    span = FixedSpan(first=2, length=2)
    assert span.cut(split_units("a b")) is None
    assert span.cut(split_units("a b c")) == (4, 5)
