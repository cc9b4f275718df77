from banyan.tasks.question_answering import QuestionAnswering, QuestionExample, ReferenceSpan
from banyan.tasks.rendering import render_examples
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["qa"])
QA = QuestionAnswering(name="qa")


def example(question: str, context: str, answer: str) -> QuestionExample:
    spans = (ReferenceSpan(text=answer, start=context.index(answer)),)
    return QuestionExample(question=question, context=context, answers=spans)


def test_only_sequences_with_something_to_learn_are_kept_and_the_others_are_counted() -> None:
    examples = [
        example("which?", "an oak", "oak"),
        example("which?", "an oak" + " tree" * 50, "oak"),
        example("which?", "tree " * 50 + "oak", "oak"),
        example("which? " * 50, "an oak", "oak"),
    ]
    rendered = render_examples(QA, examples, VOCABULARY, max_tokens=40)
    assert len(rendered.sequences) == 2
    assert all(any(sequence.loss_weights) for sequence in rendered.sequences)
    assert (rendered.num_without_target, rendered.num_too_long) == (1, 1)


def test_sequences_are_those_of_the_task() -> None:
    one = example("which?", "an oak", "oak")
    rendered = render_examples(QA, [one], VOCABULARY, max_tokens=40)
    assert rendered.sequences == (QA.render(one, VOCABULARY, max_tokens=40),)
