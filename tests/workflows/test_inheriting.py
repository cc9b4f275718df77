"""A child begins with its parent's weights, and only what its mode lets learn does so."""

from pathlib import Path
from typing import Any

import pytest
import torch

from banyan.core.errors import ConfigError
from banyan.model.checkpoint import load_model
from banyan.model.transformer import Transformer
from banyan.runtime.loading import load
from banyan.testing.transfer_runs import TransferRuns
from banyan.workflows.inheriting import layer_rates_of
from banyan.workflows.material import Material, gather_material
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.resuming import settle_recipe
from banyan.workflows.settling import new_model


def _child(
    runs: TransferRuns, folder: Path, tasks: list[dict[str, Any]], **transfer: Any
) -> tuple[Transformer, Material]:
    """Return a child before its first step, and what it will learn."""
    recipe = runs.recipe("child", tasks, transfer={"parent": str(runs.folder / "parent"), **transfer})
    recipe = settle_recipe(recipe, folder, resume=False)
    material = gather_material(recipe, folder, reporter=SilentReporter())
    return new_model(recipe, material), material


def _learning(model: Transformer) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_a_child_has_its_parents_weights_but_for_new_heads_and_task_rows(
    transfer_runs: TransferRuns, tmp_path: Path
) -> None:
    child, material = _child(transfer_runs, tmp_path, [transfer_runs.task("trip")])
    parent = load_model(transfer_runs.folder / "parent/best")
    new_row = material.vocabulary.task_id("trip")
    weights = child.state_dict()
    for name, weight in parent.state_dict().items():
        if name.startswith("heads."):
            continue
        is_old = torch.arange(len(weight)) != new_row if name == "embedding.weight" else slice(None)
        assert torch.equal(weights[name][is_old], weight[is_old]), name
    assert not torch.equal(child.embedding.weight[new_row], parent.embedding.weight[new_row])
    assert torch.equal(child.heads["film"].weight, parent.heads["film"].weight)
    assert not child.heads["trip"].weight.any()


def test_the_parents_tasks_keep_their_tokens_and_new_ones_take_the_next(
    transfer_runs: TransferRuns, tmp_path: Path
) -> None:
    tasks = [transfer_runs.task("trip"), transfer_runs.task("film")]
    _, material = _child(transfer_runs, tmp_path, tasks)
    assert material.vocabulary.task_names == ("text", "film", "trip")
    assert [task.name for task in material.tasks] == ["trip", "film"]


def test_the_row_of_a_task_goes_with_it_where_others_are_dropped(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    child, material = _child(transfer_runs, tmp_path, [transfer_runs.task("film")], keep_tasks=False)
    with load(transfer_runs.folder / "parent/best") as parent:
        old_row = parent.model.embedding.weight[parent.vocabulary.task_id("film")]
    assert material.vocabulary.task_names == ("film",)
    assert torch.equal(child.embedding.weight[material.vocabulary.task_id("film")], old_row)


def test_a_task_that_the_parent_knows_with_other_labels_is_refused(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    other = transfer_runs.task("film", labels=["bad", "good", "neg", "pos"])
    with pytest.raises(ConfigError, match="task film of the recipe is not the parent's task of that name"):
        _child(transfer_runs, tmp_path, [other])


def test_a_parents_labels_stay_in_their_order(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    with load(transfer_runs.folder / "parent/best") as parent:
        head = parent.task("film").head
    _, material = _child(transfer_runs, tmp_path, [transfer_runs.task("film")])
    assert material.tasks[0].head == head


def test_only_what_the_mode_names_learns(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    tasks = [transfer_runs.task("trip")]
    everything = {name for name in _child(transfer_runs, tmp_path, tasks)[0].state_dict()}
    idle_head = {"heads.layers.0.weight", "heads.layers.0.bias"}  # of the parent's own task
    own_head = {"heads.layers.1.weight", "heads.layers.1.bias"}
    last_block = {name for name in everything if name.startswith(("blocks.1.", "final_norm."))}
    assert _learning(_child(transfer_runs, tmp_path, tasks)[0]) == everything - idle_head
    assert _learning(_child(transfer_runs, tmp_path, tasks, mode="head")[0]) == own_head
    deeper = _child(transfer_runs, tmp_path, tasks, mode="head", last_blocks=1)[0]
    assert _learning(deeper) == own_head | last_block


def test_a_task_that_answers_in_words_needs_blocks_that_learn(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    text = transfer_runs.task("text", "language_modeling")
    with pytest.raises(ConfigError, match="leaves nothing to learn task text with"):
        _child(transfer_runs, tmp_path, [text], mode="head")
    _child(transfer_runs, tmp_path, [text], mode="head", last_blocks=1)


def test_layers_learn_alike_unless_the_recipe_says_otherwise(transfer_runs: TransferRuns) -> None:
    child = load_model(transfer_runs.folder / "parent/best")
    transfer = {"parent": "p", "layer_decay": 0.5, "unfreeze_every": 3}
    rates = layer_rates_of(transfer_runs.recipe("x", [transfer_runs.task("trip")], transfer=transfer), child)
    assert rates is not None and (rates.num_layers, rates.decay, rates.unfreeze_every) == (2, 0.5, 3)
    plain = transfer_runs.recipe("x", [transfer_runs.task("trip")], transfer={"parent": "p"})
    assert layer_rates_of(plain, child) is None
