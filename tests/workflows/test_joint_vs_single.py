"""A joint run and its twins: equal in size and rows, done once, compared on the same examples."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from banyan.core.config import config_from_mapping, config_to_mapping
from banyan.core.errors import ConfigError, DivergedError, UnknownNameError
from banyan.testing.pictures import tiny_pictures
from banyan.workflows import joint_vs_single as study
from banyan.workflows.joint_vs_single import Study, TwinQuestion, joint_vs_single
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome, train
from banyan.workflows.twin_results import JointVsSingle

_MODEL = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}
_QUESTION = TwinQuestion(num_seeds=2, helps="pairs")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Two tasks, one of which has three quarters of the rows."""
    folder = tmp_path_factory.mktemp("rows")
    tasks = []
    for task, rate in (("colours", 0.75), ("sizes", 0.25)):
        path = folder / f"{task}.jsonl"
        rows = [{"text": f"{task} {n} {'ab'[n % 2] * 3}", "label": "xy"[n % 2]} for n in range(24)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {split: str(path) for split in ("train", "validation", "test")}
        tasks.append({"name": task, "kind": "classification", "rate": rate, "data": data})
    mapping = {
        "name": "two",
        "model": _MODEL,
        "tokenizer": {"vocab_size": 300},
        "train": {"steps": 4, "seq_len": 32, "micro_batch_seqs": 4, "background_saves": False},
        "evaluation": {"num_validations": 1},
        "tasks": tasks,
    }
    return config_from_mapping(Recipe, mapping)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this file are kept."""
    return tmp_path_factory.mktemp("twins")


@pytest.fixture(scope="module")
def found(recipe: Recipe, folder: Path) -> JointVsSingle:
    """Everything that was asked, with two learning rates for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "SEARCHED_RATES", (1.0, 2.0))
        first = _asked(recipe, folder, seconds=-1)
        assert (first.num_done, first.missing) == (0, ("colours", "sizes"))
        return _asked(recipe, folder)


def _asked(recipe: Recipe, folder: Path, *, seconds: float = 1000, **changes: Any) -> JointVsSingle:
    question = dataclasses.replace(_QUESTION, **changes)
    return joint_vs_single(recipe, folder, question, seconds=seconds, reporter=SilentReporter())


def _kept(folder: Path, name: str) -> Mapping[str, Any]:
    (path,) = (folder / "cells").glob(f"{name}-x*-seed1.json")
    kept: Mapping[str, Any] = json.loads(path.read_text())
    return kept


def test_every_run_is_done_and_every_task_compared(found: JointVsSingle) -> None:
    num_pairs = len({own.single.rate for own in found.tasks})
    assert found.num_done == found.num_planned == 3 * 3 + num_pairs
    assert [own.task for own in found.tasks] == ["colours", "sizes"] and not found.missing
    assert all(len(own.joint.scores) == len(own.single.scores) == 2 for own in found.tasks)
    assert {(own.helper, own.helped) for own in found.helps} == {("colours", "sizes"), ("sizes", "colours")}
    assert found.worst in found.tasks and found.mean is not None


def test_a_twin_has_the_rows_and_the_size_that_its_task_has_among_the_others(
    found: JointVsSingle, folder: Path
) -> None:
    joint, colours, sizes = (_kept(folder, name) for name in ("joint", "only-colours", "only-sizes"))
    assert (joint["steps"], joint["batch_seqs"]) == (4, 4)
    assert (colours["steps"], colours["batch_seqs"]) == (4, 3)
    assert (sizes["steps"], sizes["batch_seqs"]) == (4, 1)
    head = 2 * (16 + 1)
    assert joint["num_parameters"] - head == colours["num_parameters"] == sizes["num_parameters"]


def test_a_gain_is_the_difference_of_the_mean_scores_and_lies_in_its_interval(found: JointVsSingle) -> None:
    for own in found.tasks:
        comparison = own.comparison
        assert comparison.improvement == pytest.approx(own.joint.mean - own.single.mean)
        assert comparison.interval.low <= comparison.improvement <= comparison.interval.high
        assert comparison.p_value <= own.corrected_p <= 1


def test_a_pair_is_taught_at_the_learning_rate_of_each_twin_it_is_held_against(
    found: JointVsSingle, recipe: Recipe, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever rate is best for both tasks and all others together."""
    monkeypatch.setattr(study, "SEARCHED_RATES", (1.0, 2.0))
    copied = tmp_path / "twins"
    shutil.copytree(folder, copied)
    for path in (copied / "cells").glob("*-seed0.json"):
        is_best = path.name.startswith(("only-colours-x1", "only-sizes-x2", "joint-x1"))
        path.write_text(json.dumps(json.loads(path.read_text()) | {"validation": float(is_best)}))
        if path.name.startswith("colours.sizes"):
            path.unlink()
    waiting = Study(recipe, copied, _QUESTION, reporter=SilentReporter()).waiting()
    pairs = [cell.name for cell in waiting if cell.group.name == "colours.sizes"]
    assert pairs == ["colours.sizes-x1-seed0", "colours.sizes-x2-seed0"]


def test_a_task_whose_learning_rate_nothing_could_choose_is_refused_before_anything_is_trained(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unscored = dataclasses.replace(recipe.tasks[1].data, validation=None)
    tasks = (recipe.tasks[0], dataclasses.replace(recipe.tasks[1], data=unscored))
    monkeypatch.setattr("banyan.workflows.twin_runs.train", None)
    with pytest.raises(ConfigError, match="cannot be compared: sizes has 0 validation examples") as refused:
        _asked(dataclasses.replace(recipe, tasks=tasks), tmp_path)
    assert refused.value.hint == "set tasks.sizes.data.validation, or validation_fraction"


def test_a_run_without_any_score_is_an_error_and_no_score_of_zero(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unscored = SimpleNamespace(recipe=recipe, result=SimpleNamespace(stopped_by="steps", best_score=None))
    monkeypatch.setattr("banyan.workflows.twin_runs.train", lambda *_, **__: unscored)
    with pytest.raises(DivergedError, match="none of its validation scores is a number"):
        _asked(recipe, tmp_path)
    assert not list(tmp_path.glob("cells/*"))


def test_a_learning_rate_that_diverges_is_not_chosen_and_the_study_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverging(asked: Recipe, **given: Any) -> TrainingOutcome:
        if "-x2-" in asked.name or asked.name.startswith("only-sizes-x1"):
            raise DivergedError("the loss is not finite.")
        return train(asked, **given)

    monkeypatch.setattr(study, "SEARCHED_RATES", (0.5, 1.0, 2.0))
    monkeypatch.setattr("banyan.workflows.twin_runs.train", diverging)
    with pytest.raises(DivergedError, match="the loss is not finite"):  # at the recipe's own rate
        _asked(recipe, tmp_path, num_seeds=1, helps=None)
    monkeypatch.setattr("banyan.workflows.twin_runs.train", train)
    found = _asked(recipe, tmp_path, num_seeds=1, helps=None)
    kept = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "cells").glob("*.json")}
    assert {name for name, result in kept.items() if not result["tasks"]} == {"joint-x2-seed0", "only-colours-x2-seed0"}
    assert not found.missing and all(own.joint.rate < 2 for own in found.tasks)


def test_what_is_done_is_not_done_again(
    found: JointVsSingle, recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "SEARCHED_RATES", (1.0, 2.0))
    monkeypatch.setattr("banyan.workflows.twin_runs.gather_material", None)
    assert _asked(recipe, folder) == found


def test_a_model_that_draws_and_sorts_texts_is_held_against_one_that_does_either(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "SEARCHED_RATES", (1.0,))
    pictures = tmp_path / "pictures.npz"
    np.savez(pictures, images=tiny_pictures(36), labels=np.arange(36) % 3)
    data = {**dict.fromkeys(("train", "validation", "test"), str(pictures)), "columns": {"label": "text"}}
    draw = {"name": "draw", "kind": "image_generation", "captions": ["a {name}"], "rate": 0.75, "data": data}
    mapping = config_to_mapping(recipe)
    mapping |= {"tasks": [*mapping["tasks"][1:], draw], "image_tokenizer": {"patch_size": 2, "num_codes": 8}}
    found = _asked(config_from_mapping(Recipe, mapping), tmp_path / "twins", num_seeds=1, helps=None)
    assert {own.task: own.metric for own in found.tasks} == {"draw": "accuracy", "sizes": "accuracy"}
    assert all(len(own.joint.scores) == len(own.single.scores) == 1 for own in found.tasks) and not found.missing


def test_another_recipe_needs_another_folder(found: JointVsSingle, recipe: Recipe, folder: Path) -> None:
    with pytest.raises(ConfigError, match="holds runs of another recipe"):
        _asked(dataclasses.replace(recipe, seed=7), folder)


def test_what_cannot_be_asked_is_refused_in_one_line(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no task 'colour'; did you mean colours"):
        _asked(recipe, tmp_path, tasks=("colour",))
    with pytest.raises(ConfigError, match="a recipe with one task has nothing to compare"):
        _asked(dataclasses.replace(recipe, tasks=recipe.tasks[:1]), tmp_path)
    with pytest.raises(ConfigError, match="num_seeds=0 is too few"):
        TwinQuestion(num_seeds=0)
