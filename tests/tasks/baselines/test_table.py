import pytest

from banyan.core.errors import DataError
from banyan.core.types import Prediction
from banyan.tasks.baselines.table import BASELINES, MAX_NGRAM_BYTES, baselines_for, bits_baselines
from banyan.tasks.evaluate import evaluate_bits, evaluate_task
from banyan.tasks.registry import TASK_KINDS
from banyan.testing.tasks import CHINESE, ENGLISH, TASKS, example_about

ANSWERED = [kind for kind in TASKS if kind != "language_modeling"]


def test_every_kind_has_its_baselines() -> None:
    assert {task.kind for task in TASKS.values()} - {"language_modeling"} <= set(BASELINES) <= set(TASK_KINDS)


@pytest.mark.parametrize("kind", ANSWERED)
def test_the_first_baseline_is_trivial_and_all_are_scored_as_models_are(kind: str) -> None:
    task, train = TASKS[kind], [example_about(kind, text) for text in (ENGLISH, CHINESE, ENGLISH)]
    baselines = baselines_for(task, train)
    assert [baseline.is_trivial for baseline in baselines] == [True] + [False] * (len(baselines) - 1)
    for baseline in baselines:
        evaluation = evaluate_task(task, train, baseline.learn(), num_samples=20)
        assert evaluation.main_metric in evaluation.scores
        assert all(isinstance(prediction, Prediction) for prediction in evaluation.predictions)


def test_code_is_summarized_by_its_name_and_prose_by_its_first_words() -> None:
    task = TASKS["summarization"]
    code = task.parse({"document": "def read(): ...", "summary": "Read."})
    assert [baseline.name for baseline in baselines_for(task, [code])] == ["function name", "split function name"]
    assert [b.name for b in baselines_for(task, [example_about("summarization", ENGLISH)])] == [
        "first words",
        "first sentences",
    ]


def test_texts_are_scored_in_bits_by_all_baselines_of_language_modelling() -> None:
    costs = {b.name: evaluate_bits("lm", [ENGLISH], b.learn()).score for b in bits_baselines([ENGLISH, CHINESE] * 5)}
    assert list(costs) == ["unigram bytes", "6-gram bytes", "xz"]
    assert costs["6-gram bytes"] < costs["unigram bytes"]


def test_the_last_training_texts_are_kept_where_there_are_too_many() -> None:
    texts = ["a" * MAX_NGRAM_BYTES, "b", "cc"]
    unigrams = bits_baselines(texts)[0].learn()
    assert unigrams(["a"])[0] > unigrams(["b"])[0] > unigrams(["c"])[0]


def test_baselines_need_something_to_learn_from() -> None:
    with pytest.raises(DataError, match="no training examples"):
        baselines_for(TASKS["dialogue"], [])
