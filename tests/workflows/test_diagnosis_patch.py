from pathlib import Path

import pytest

from banyan.core.config import read_config, write_config
from banyan.train.health.signals import SIGNALS
from banyan.workflows.diagnosis_patch import overrides, patch_for, write_patch
from banyan.workflows.recipe import Recipe
from banyan.workflows.training import TrainingOutcome


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_every_proposed_change_is_a_recipe_that_can_be_read(
    signal: str, tiny_run: TrainingOutcome, tmp_path: Path
) -> None:
    recipe = tiny_run.recipe
    write_config(tmp_path / "recipe.yaml", recipe)
    changes = patch_for(signal, recipe, rate_scale=0.7)
    changed = read_config(Recipe, write_patch(tmp_path, recipe, changes))
    assert changed.name != recipe.name
    typed = read_config(Recipe, tmp_path / "recipe.yaml", overrides=[*overrides(changes), f"name={changed.name}"])
    assert typed == changed


def test_a_rate_that_the_run_got_along_with_is_taken(tiny_run: TrainingOutcome) -> None:
    peak = tiny_run.recipe.optimizer.learning_rate
    assert patch_for("diverged", tiny_run.recipe)["optimizer.learning_rate"] == pytest.approx(0.5 * peak)
    lower = patch_for("diverged", tiny_run.recipe, rate_scale=0.021)
    assert lower["optimizer.learning_rate"] == pytest.approx(0.021 * peak)
