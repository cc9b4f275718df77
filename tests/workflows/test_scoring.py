import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.evaluate import TaskEvaluation
from banyan.tasks.image_generation import ImageGeneration
from banyan.tasks.metrics.measurement import Measurement
from banyan.workflows.live_model import judges_of
from banyan.workflows.picture_measures import bits_per_code
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.scoring import TaskResult, evaluate_model, evaluate_one, overall_score
from banyan.workflows.training import TrainingOutcome

FEW = 20  # resamples; nobody reads these intervals


@pytest.fixture(scope="module")
def results(loaded: LoadedModel, tiny_run: TrainingOutcome) -> Mapping[str, TaskResult]:
    """Every task of the tiny run, on its test examples."""
    material = tiny_run.material
    judges = judges_of(material)
    return evaluate_model(loaded, material.test, judges=judges, reporter=SilentReporter(), num_samples=FEW)


def evaluation(metric: str, score: float, *, lower_is_better: frozenset[str] = frozenset()) -> TaskEvaluation:
    measurement = Measurement(
        statistics=np.ones((1, 1)), summarize=lambda totals: {metric: score}, lower_is_better=lower_is_better
    )
    return TaskEvaluation(
        task="t", main_metric=metric, scores={metric: score}, intervals={}, num_examples=1, measurement=measurement
    )


def test_every_task_is_scored_by_its_own_metric(results: Mapping[str, TaskResult]) -> None:
    assert {name: result.evaluation.main_metric for name, result in results.items()} == {
        "language_modeling": "bits_per_byte",
        "classification": "accuracy",
        "tagging": "f1",
        "translation": "chrf",
        "summarization": "rouge1",
        "question_answering": "f1",
        "dialogue": "token_f1",
        "image_generation": "accuracy",
    }


def test_a_conversation_is_scored_by_likelihood_too(results: Mapping[str, TaskResult]) -> None:
    assert {"token_f1", "perplexity"} <= set(results["dialogue"].evaluation.scores)


def test_bits_per_byte_are_those_of_the_model(results: Mapping[str, TaskResult], loaded: LoadedModel) -> None:
    result = results["language_modeling"]
    texts = [example.text for example in result.examples]
    assert result.evaluation.score == pytest.approx(loaded.bits_per_byte(texts))


def test_a_task_without_baselines_beats_nothing(results: Mapping[str, TaskResult]) -> None:
    alone = TaskResult(task=results["tagging"].task, evaluation=results["tagging"].evaluation, examples=())
    assert alone.beats_trivial is None


def test_pictures_are_judged_or_else_scored_by_likelihood(loaded: LoadedModel, tiny_run: TrainingOutcome) -> None:
    task, examples = loaded.task("image_generation"), tiny_run.material.test["image_generation"]
    judge = judges_of(tiny_run.material)["image_generation"]
    assert evaluate_one(loaded, task, examples, judge=judge, num_samples=2).main_metric == "accuracy"
    assert evaluate_one(loaded, task, examples, judge=None, num_samples=2).main_metric == "perplexity"


def test_pictures_chosen_by_their_codes_are_weighed_and_drawn_only_for_a_judge(
    loaded: LoadedModel, tiny_run: TrainingOutcome
) -> None:
    task, examples = loaded.task("image_generation"), tiny_run.material.test["image_generation"]
    assert isinstance(task, ImageGeneration)
    by_codes = dataclasses.replace(task, metric="bits_per_code")
    weighed = evaluate_one(loaded, by_codes, examples, judge=None, num_samples=2)
    assert weighed.main_metric == "bits_per_code" and weighed.lower_is_better and not weighed.predictions
    assert weighed.score == pytest.approx(bits_per_code(loaded, task, examples)) and 0 < weighed.score < 8
    judged = evaluate_one(loaded, by_codes, examples, judge=judges_of(tiny_run.material)[task.name], num_samples=2)
    assert judged.main_metric == "accuracy" and judged.scores["bits_per_code"] == weighed.score
    assert len(judged.predictions) == len(examples)


def test_a_judge_that_is_always_right_gives_full_marks(loaded: LoadedModel, tiny_run: TrainingOutcome) -> None:
    task, examples = loaded.task("image_generation"), tiny_run.material.test["image_generation"]
    labels = [example.label for example in examples]
    assert evaluate_one(loaded, task, examples, judge=lambda images: labels, num_samples=2).score == 1.0


def test_predictions_are_handed_on_and_empty_tasks_left_out(loaded: LoadedModel, tiny_run: TrainingOutcome) -> None:
    heard: dict[str, int] = {}

    def hear(name: str, examples: Any, predictions: Any) -> None:
        heard[name] = len(predictions)

    given = {"classification": tiny_run.material.test["classification"][:2], "tagging": []}
    scored = evaluate_model(loaded, given, judges={}, reporter=SilentReporter(), num_samples=2, on_predictions=hear)
    assert list(scored) == ["classification"] and heard == {"classification": 2}


@pytest.mark.parametrize(
    ("metric", "score", "share"),
    [
        ("accuracy", 0.25, 0.25),
        ("bits_per_byte", 8.0, 0.0),
        ("bits_per_byte", 2.0, 0.75),
        ("bits_per_code", 2.5, 0.75),
        ("perplexity", 4.0, 0.25),
        ("perplexity", 0.5, 1.0),
        ("chrf", 40.0, 0.4),
        ("bleu", 10.0, 0.1),
    ],
)
def test_scores_of_all_kinds_count_alike(metric: str, score: float, share: float) -> None:
    assert overall_score({"t": evaluation(metric, score)}) == pytest.approx(share)


def test_an_error_rate_of_a_users_own_kind_counts_the_more_the_lower_it_is() -> None:
    rates = (0.0, 0.2, 1.5)
    shares = [overall_score({"t": evaluation("wer", rate, lower_is_better=frozenset({"wer"}))}) for rate in rates]
    assert shares == sorted(shares, reverse=True) and shares[0] == 1.0 and shares[-1] > 0.0


def test_the_overall_score_is_the_mean_over_tasks() -> None:
    assert overall_score({"a": evaluation("f1", 1.0), "b": evaluation("f1", 0.5)}) == 0.75
    assert overall_score({}) == 0.0
