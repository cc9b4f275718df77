import dataclasses

import pytest
import torch

from banyan.workflows.learning import whole_batches
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.settling import new_model, settle_length
from banyan.workflows.training import TrainingOutcome


def test_a_seed_decides_the_first_weights(tiny_run: TrainingOutcome) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        recipe = dataclasses.replace(tiny_run.recipe, seed=seed)
        return new_model(recipe, tiny_run.material).state_dict()

    one, same, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_minutes_become_steps_over_which_the_evaluations_are_spread(
    tiny_run: TrainingOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banyan.workflows.settling.measure_step_seconds", lambda *_, **__: 2.0)
    evaluation = dataclasses.replace(tiny_run.recipe.evaluation, num_validations=5)
    train = dataclasses.replace(tiny_run.recipe.train, evaluate_every=None)
    recipe = dataclasses.replace(tiny_run.recipe, minutes=1, evaluation=evaluation, train=train)
    model, learning = new_model(recipe, tiny_run.material), whole_batches(recipe, tiny_run.material)
    settled = settle_length(recipe, model, learning, reporter=SilentReporter())
    assert (settled.minutes, settled.train.steps, settled.train.evaluate_every) == (None, 30, 6)
