import math

import pytest

from banyan.core.errors import DataError
from banyan.core.types import NO_TARGET, Prediction
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.tasks.dialogue import Dialogue
from banyan.tasks.evaluate import evaluate_bits, evaluate_likelihood, evaluate_task, merge_evaluations
from banyan.testing.vocabulary import tiny_vocabulary

VOCABULARY = tiny_vocabulary(["chat"])
TOPIC = Classification(name="topic", labels=("a", "b"))
EXAMPLES = [ClassificationExample(text=label * 3, label=label) for label in "aabab"]


def always(label: str):
    return lambda examples: [Prediction(task="topic", text=label) for _ in examples]


def read_first_letter(examples):
    return [Prediction(task="topic", text=example.text[0]) for example in examples]


def test_any_function_that_answers_is_scored() -> None:
    evaluation = evaluate_task(TOPIC, EXAMPLES, always("a"))
    assert (evaluation.task, evaluation.main_metric, evaluation.num_examples) == ("topic", "accuracy", 5)
    assert evaluation.score == evaluation.scores["accuracy"] == 0.6
    assert evaluation.intervals["accuracy"].low < 0.6 < evaluation.intervals["accuracy"].high
    assert [prediction.text for prediction in evaluation.predictions] == ["a"] * 5


def test_two_systems_are_compared_on_the_same_examples() -> None:
    model, baseline = (evaluate_task(TOPIC, EXAMPLES * 10, answer) for answer in (read_first_letter, always("a")))
    assert model.compared_with(baseline).is_better
    assert baseline.compared_with(model, score="macro_f1").is_worse
    assert not model.compared_with(model).is_better


def test_bits_per_byte_counts_bytes_not_characters() -> None:
    evaluation = evaluate_bits("lm", ["树", "tree"], lambda texts: [8.0 * len(text) for text in texts])
    assert evaluation.score == pytest.approx(40 / 7)
    assert evaluation.lower_is_better and evaluation.predictions == ()


def test_perplexity_is_over_the_tokens_of_the_answers() -> None:
    chat = Dialogue(name="chat")
    examples = [chat.parse({"prompt": "hi", "completion": text}) for text in ("a tree", "一棵树")]

    def uniform(sequences):
        return [[-math.log(50)] * sum(t != NO_TARGET for t in sequence.targets) for sequence in sequences]

    evaluation = evaluate_likelihood(chat, examples, uniform, VOCABULARY, max_tokens=100)
    num_tokens = sum(len(VOCABULARY.encode(text)) + 1 for text in ("a tree", "一棵树"))
    assert evaluation.scores["perplexity"] == pytest.approx(50)
    assert evaluation.scores["bits_per_byte"] == pytest.approx(num_tokens * math.log2(50) / (6 + 9))


def test_scores_of_two_kinds_are_one_evaluation() -> None:
    answered = evaluate_task(TOPIC, EXAMPLES, always("a"))
    both = merge_evaluations(answered, evaluate_bits("topic", ["x"] * 5, lambda texts: [1.0] * len(texts)))
    assert both.scores == answered.scores | {"bits_per_byte": 1.0}
    assert both.main_metric == "accuracy" and both.predictions == answered.predictions
    assert both.compared_with(both, score="bits_per_byte").improvement == 0


def test_nothing_cannot_be_scored_and_every_example_needs_an_answer() -> None:
    with pytest.raises(DataError, match="no examples to score"):
        evaluate_task(TOPIC, [], always("a"))
    with pytest.raises(DataError, match="0 answers"):
        evaluate_task(TOPIC, EXAMPLES, lambda examples: [])
