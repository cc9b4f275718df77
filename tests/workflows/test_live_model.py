import dataclasses
import threading

import pytest
import torch

from banyan.runtime.loaded_model import LoadedModel
from banyan.train.evaluations import EvaluationStopped
from banyan.workflows.live_model import TASK_SCORES, LiveEvaluator, judges_of, live_model, validation_judges
from banyan.workflows.settling import new_model
from banyan.workflows.training import TrainingOutcome


def test_weights_in_memory_answer_like_those_that_were_saved(tiny_run: TrainingOutcome, loaded: LoadedModel) -> None:
    questions = ["red thing", "蓝色 thing"]
    with live_model(loaded.model, tiny_run.material) as live:
        assert live.predict("classification", questions) == loaded.predict("classification", questions)
        assert live.chat("What is red?") == loaded.chat("What is red?")


def test_an_evaluation_gives_every_score_and_their_mean(tiny_run: TrainingOutcome, loaded: LoadedModel) -> None:
    evaluator = LiveEvaluator(tiny_run.material, max_examples=2)
    scores = evaluator(loaded.model, 6)
    assert evaluator.has_examples and 0.0 <= scores["score"] <= 1.0
    by_task = scores[TASK_SCORES]
    assert scores["score"] == pytest.approx(sum(by_task.values()) / len(by_task))
    assert {name.split("/")[0] for name in scores if "/" in name} == set(by_task)
    assert set(by_task) == set(tiny_run.material.validation)
    assert scores == evaluator(loaded.model, 7)


def test_an_evaluation_that_nobody_wants_is_given_up_and_can_be_made_up_for(
    tiny_run: TrainingOutcome, loaded: LoadedModel
) -> None:
    unwanted = threading.Event()
    evaluator = LiveEvaluator(tiny_run.material, max_examples=2, is_unwanted=unwanted.is_set)
    unwanted.set()
    with pytest.raises(EvaluationStopped):
        evaluator(loaded.model, 6)
    unwanted.clear()
    assert evaluator(loaded.model, 6) == LiveEvaluator(tiny_run.material, max_examples=2)(loaded.model, 6)


def test_an_evaluation_leaves_randomness_and_weights_as_they_were(tiny_run: TrainingOutcome) -> None:
    model = new_model(tiny_run.recipe, tiny_run.material)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    LiveEvaluator(tiny_run.material, max_examples=1)(model, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_only_drawing_tasks_have_a_judge(tiny_run: TrainingOutcome) -> None:
    judges = judges_of(tiny_run.material)
    assert list(judges) == ["image_generation"]
    judge = judges["image_generation"]
    examples = tiny_run.material.test["image_generation"]
    assert judge is not None
    assert judge([example.image for example in examples]) == [example.label for example in examples]


def test_a_task_chosen_by_its_codes_is_scored_without_drawing(tiny_run: TrainingOutcome, loaded: LoadedModel) -> None:
    tasks = [dataclasses.replace(task, metric="bits_per_code") for task in tiny_run.material.tasks if task.has_pictures]
    [task] = tasks
    examples = {task.name: tiny_run.material.validation[task.name]}
    tasks_by_name = {**loaded.tasks, task.name: task}
    known = tuple(tasks_by_name[one.name] for one in tiny_run.material.known_tasks)
    material = dataclasses.replace(tiny_run.material, tasks=(task,), known_tasks=known, validation=examples)
    assert validation_judges(material) == {task.name: None}
    scores = LiveEvaluator(material, max_examples=2)(loaded.model, 6)
    assert scores["score"] == pytest.approx(1 - scores[f"{task.name}/bits_per_code"] / 10)
    assert f"{task.name}/accuracy" not in scores


def test_without_validation_there_is_nothing_to_score(tiny_run: TrainingOutcome) -> None:
    bare = dataclasses.replace(tiny_run.material, validation={"classification": []})
    assert not LiveEvaluator(bare, max_examples=2).has_examples
