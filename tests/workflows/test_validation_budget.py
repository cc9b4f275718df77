"""A validation takes no longer than it may; what is quick is scored whole."""

import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.workflows.recipe import EvaluationRecipe, Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.settling import new_model
from banyan.workflows.training import TrainingOutcome
from banyan.workflows.validation_budget import FEWEST, examples_within, settle_validation

_TASKS = st.dictionaries(st.text("abcdef", min_size=1), st.tuples(st.floats(1e-4, 10), st.integers(1, 500)), min_size=1)


@given(tasks=_TASKS, seconds=st.floats(0.1, 1000))
def test_the_seconds_are_kept_unless_the_fewest_examples_take_longer(
    tasks: Mapping[str, tuple[float, int]], seconds: float
) -> None:
    costs, sizes = ({name: pair[place] for name, pair in tasks.items()} for place in (0, 1))
    counts = examples_within(costs, sizes, seconds=seconds)
    least = {name: min(FEWEST, size) for name, size in sizes.items()}
    assert all(least[name] <= counts[name] <= sizes[name] for name in sizes)
    for name, count in counts.items():
        if count > least[name]:  # nobody has more than an equal part of what the quicker ones have left
            assert count * costs[name] <= seconds * (1 + 1e-9)


def test_quick_tasks_are_scored_whole_and_slow_ones_share_the_rest() -> None:
    counts = examples_within(
        {"labels": 0.01, "texts": 1.0, "talk": 0.5}, dict.fromkeys(("labels", "texts", "talk"), 100), seconds=41
    )
    assert counts == {"labels": 100, "texts": 20, "talk": 40}


def test_a_recipe_without_a_limit_stays_and_one_with_it_is_counted_once(tiny_run: TrainingOutcome) -> None:
    def settled(recipe: Recipe) -> Recipe:
        model = new_model(recipe, tiny_run.material)
        return settle_validation(recipe, model, tiny_run.material, reporter=SilentReporter())

    recipe = tiny_run.recipe
    assert settled(recipe) is recipe
    evaluation = EvaluationRecipe(max_validation_examples=9, max_seconds=1e-6)
    limited = settled(dataclasses.replace(recipe, evaluation=evaluation))
    assert limited.evaluation.validation_examples.keys() == {task.name for task in tiny_run.material.tasks}
    assert set(limited.evaluation.validation_examples.values()) <= set(range(1, FEWEST + 1))
    assert settled(limited) is limited
    unscored = dataclasses.replace(tiny_run.material, validation={})  # as a plan trains
    model = new_model(recipe, unscored)
    asked = dataclasses.replace(recipe, evaluation=evaluation)
    assert settle_validation(asked, model, unscored, reporter=SilentReporter()) == asked


def test_limits_that_cannot_be_are_refused(tiny_run: TrainingOutcome) -> None:
    with pytest.raises(ConfigError, match=r"evaluation.max_seconds=0.0 must be above 0"):
        EvaluationRecipe(max_seconds=0.0)
    with pytest.raises(UnknownNameError, match="evaluation.validation_examples names the task 'taging'; did you mean"):
        dataclasses.replace(tiny_run.recipe, evaluation=EvaluationRecipe(validation_examples={"taging": 3}))
