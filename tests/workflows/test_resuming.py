"""What may change while a run is stopped, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from banyan.core.config import config_from_mapping, write_config
from banyan.core.errors import ConfigError
from banyan.train.precision import Precision
from banyan.workflows.recipe import Recipe, with_precision
from banyan.workflows.resuming import learned_data, recipe_changes, settle_evaluations, settle_recipe


def recipe_of(**changes: Any) -> Recipe:
    tasks = [{"name": "text", "kind": "language_modeling", "data": {"train": "/rows.jsonl"}}]
    return config_from_mapping(Recipe, {"name": "it", "tasks": tasks, "device": "cpu", **changes})


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The directory of a run of the plain recipe."""
    write_config(tmp_path / "recipe.yaml", with_precision(settle_evaluations(recipe_of()), "float32"))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"optimizer": {"learning_rate": 0.5}}, "optimizer.learning_rate"),
        ({"schedule": {"warmup_fraction": 0.3}}, "schedule.warmup_fraction"),
        ({"train": {"log_every": 1}}, "train.log_every"),
        ({"train": {"checkpoint_every": 7}}, "train.checkpoint_every"),
        ({"train": {"health": {"watch": False}}}, "train.health.watch"),
        ({"evaluation": {"max_test_examples": 3}}, "evaluation.max_test_examples"),
        ({"device": "cpu:0"}, "device"),
        ({"train": {"precision": "int8"}}, "train.precision"),
        ({"train": {"prefetch": True}}, "train.prefetch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_decides_no_shape_and_no_order_may_change(begun: Path, changes: dict[str, Any], key: str) -> None:
    settled = settle_recipe(recipe_of(**changes), begun, resume=True)
    assert list(recipe_changes(settled, begun)) == [key]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"tokenizer": {"vocab_size": 300}}, "tokenizer.vocab_size"),
        ({"model": {"num_layers": 3}}, "model.num_layers"),
        ({"train": {"seq_len": 32}}, "train.seq_len"),
        ({"train": {"micro_batch_seqs": 4}}, "train.micro_batch_seqs"),
        ({"optimizer": {"name": "adamw"}}, "optimizer.name"),
        ({"seed": 1}, "seed"),
        ({"mixture": {"temperature": 3.0}}, "mixture.temperature"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_decides_a_shape_or_the_order_may_not(begun: Path, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"the recipe's {key} is not what the run began with") as caught:
        settle_recipe(recipe_of(**changes), begun, resume=True)
    assert caught.value.exit_code == 2


def test_a_batch_may_be_cut_in_another_way(begun: Path) -> None:
    changed = recipe_of(train={"micro_batch_seqs": 4, "accumulation_steps": 4})  # 16 rows, as before
    assert settle_recipe(changed, begun, resume=True).train.batch_seqs == 16


@pytest.mark.parametrize(
    ("began", "parallel", "goes_on"),
    [
        ("int8", {}, "int8"),
        ("int8", {"tensor": 2}, "float32"),  # int8 needs whole matrices
        ("bfloat16", {}, "bfloat16"),
        ("auto", {}, "float32"),  # by an earlier version, or on a GPU
    ],
)
def test_a_run_goes_on_in_the_number_format_it_began_with(
    tmp_path: Path, began: Precision, parallel: dict[str, int], goes_on: str
) -> None:
    write_config(tmp_path / "recipe.yaml", with_precision(recipe_of(), began))
    settled = settle_recipe(recipe_of(parallel=parallel), tmp_path, resume=True)
    assert settled.train.precision == goes_on


def test_more_steps_move_the_evaluations(begun: Path) -> None:
    settled = settle_recipe(recipe_of(train={"steps": 3000}), begun, resume=True)
    assert recipe_changes(settled, begun) == {"train.steps": [1000, 3000], "train.evaluate_every": [100, 300]}


def test_a_run_that_begins_may_be_anything(begun: Path, tmp_path: Path) -> None:
    assert settle_recipe(recipe_of(seed=1), begun, resume=False).seed == 1
    assert settle_recipe(recipe_of(seed=1), tmp_path / "other", resume=True).seed == 1
    assert recipe_changes(recipe_of(seed=1), tmp_path / "other") == {}
    assert learned_data(tmp_path / "other") is None


def test_a_saved_recipe_runs_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tasks = [{"name": "text", "kind": "language_modeling", "data": {"train": "rows.jsonl"}}]
    settled = settle_recipe(
        recipe_of(tasks=tasks, tokenizer={"path": "tokenizer.json"}), tmp_path / "run", resume=False
    )
    assert settled.tokenizer.path == str(tmp_path / "tokenizer.json")
    assert settled.tasks[0].data.train == str(tmp_path / "rows.jsonl")
