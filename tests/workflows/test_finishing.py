"""A finish is kept where it helps, and answers its own task alone; the others are answered as before."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest

from banyan.core.errors import CheckpointError, ConfigError, UnknownNameError
from banyan.core.model_directory import name_of, write_manifest
from banyan.runtime.loading import load
from banyan.testing.transfer_runs import TransferRuns
from banyan.train.precision import Precision
from banyan.workflows import finishing
from banyan.workflows.explaining import ExplainQuestion, explain_answer
from banyan.workflows.finish_recipe import FinishRecipe
from banyan.workflows.finishing import Finish, finish_folder, finish_run, finishing_recipe
from banyan.workflows.recipe import with_precision
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome, train

_MODEL = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}
_QUESTIONS = ["good film 3", "bad film 4", "oak trip 5"]


@pytest.fixture(scope="module")
def outcome(transfer_runs: TransferRuns) -> TrainingOutcome:
    """A joint run of two tasks that has barely begun to learn them."""
    recipe = transfer_runs.recipe(
        "joint",
        [transfer_runs.task("film"), transfer_runs.task("trip")],
        model=_MODEL,
        finish={"steps": 30, "tasks": ["film", "trip"], "lora": {"rank": 4}},
    )
    return train(recipe, reporter=SilentReporter(), run_directory=transfer_runs.folder / "joint")


def _finish(outcome: TrainingOutcome) -> dict[str, Finish] | None:
    best = outcome.result.best_checkpoint
    return finish_run(outcome.recipe, outcome.run_directory, best=best, reporter=SilentReporter())


@pytest.fixture(scope="module")
def finishes(outcome: TrainingOutcome) -> dict[str, Finish]:
    """One of the two tasks is said to be helped, the other not to be."""
    found = _finish(outcome)
    assert found is not None
    for name, improvement in (("film", 0.1), ("trip", 0.0)):
        (path,) = outcome.run_directory.glob(f"finish/*/{name}.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {"improvement": improvement}))
    return found


@pytest.fixture(scope="module")
def finished(outcome: TrainingOutcome, finishes: dict[str, Finish]) -> Path:
    """The model with what was kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finishing, "train", None)  # what is done is not done again
        _finish(outcome)
    return outcome.run_directory / "finished"


def test_a_finish_is_judged_on_the_validation_examples(finishes: dict[str, Finish]) -> None:
    assert list(finishes) == ["film", "trip"]
    for finish in finishes.values():
        assert finish.num_examples == 24 and finish.improvement == pytest.approx(finish.after - finish.before)
    assert any(finish.after > finish.before for finish in finishes.values())


def test_a_finished_task_is_answered_by_its_adapter_and_the_others_to_the_bit_as_before(
    outcome: TrainingOutcome, finished: Path, finishes: dict[str, Finish]
) -> None:
    best = outcome.run_directory / "best"
    with load(finished) as model, load(best) as joint, load(Path(finishes["film"].checkpoint)) as adapted:
        film, before = model.predict("film", _QUESTIONS), joint.predict("film", _QUESTIONS)
        assert [p.labels for p in film] == [p.labels for p in adapted.predict("film", _QUESTIONS)]
        assert [p.labels for p in film] != [p.labels for p in before]
        others = [one.predict("trip", _QUESTIONS) for one in (model, joint)]
        assert [p.labels for p in others[0]] == [p.labels for p in others[1]]
        assert model.num_parameters == joint.num_parameters
    assert not (finished / "state.json").exists() and name_of(finished) == "joint"
    assert [path.name for path in (finished / "finishes").iterdir()] == ["film"]


def test_an_answer_of_a_finish_is_explained_under_it(finished: Path) -> None:
    asked = ExplainQuestion(task="film", text=_QUESTIONS[0], method="occlusion")
    with load(finished, device="cpu", num_slots=1) as model:
        sure = model.predict("film", _QUESTIONS[0])[0].score
        found = explain_answer(model, asked, reporter=SilentReporter())
    assert sure is not None
    assert found.explanations[0].log_odds == pytest.approx(math.log(sure / (1 - sure)), abs=1e-4)


@pytest.mark.parametrize(("joint", "own"), [("int8", "auto"), ("float32", "float32")])
def test_int8_that_the_joint_run_learned_in_is_not_for_an_adapter(
    outcome: TrainingOutcome, joint: Precision, own: Precision
) -> None:
    recipe = with_precision(outcome.recipe, joint)
    child = finishing_recipe(recipe, FinishRecipe(steps=30), "film", parent=outcome.result.best_checkpoint)
    assert child.train.precision == own


def test_a_run_that_has_another_best_model_by_now_is_finished_anew(tmp_path: Path) -> None:
    manifest, asked = tmp_path / "manifest.json", FinishRecipe(steps=30)
    manifest.write_text("the first")
    first = finish_folder(asked, tmp_path, best=tmp_path)
    assert finish_folder(FinishRecipe(steps=30, tasks=("film",)), tmp_path, best=tmp_path) == first
    assert finish_folder(FinishRecipe(steps=31), tmp_path, best=tmp_path) != first
    manifest.write_text("a later one")
    assert finish_folder(asked, tmp_path, best=tmp_path) != first


def test_what_nobody_could_judge_is_refused_before_anything_is_trained(
    outcome: TrainingOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unjudged = dataclasses.replace(outcome.recipe.tasks[1].data, validation=None)
    tasks = (outcome.recipe.tasks[0], dataclasses.replace(outcome.recipe.tasks[1], data=unjudged))
    recipe = dataclasses.replace(outcome.recipe, tasks=tasks, finish=FinishRecipe(steps=2))
    monkeypatch.setattr(finishing, "train", None)
    monkeypatch.setattr("banyan.workflows.training._fit", None)
    said = "finish cannot be done for the task trip: it has 0 validation examples"
    with pytest.raises(ConfigError, match=said):
        _finish(dataclasses.replace(outcome, recipe=recipe))
    with pytest.raises(ConfigError, match=said):
        train(recipe, reporter=SilentReporter(), run_directory=tmp_path / "joint")


def test_a_finish_of_no_task_is_refused(finished: Path, tmp_path: Path) -> None:
    strange = tmp_path / "model"
    shutil.copytree(finished, strange)
    (strange / "finishes/film").rename(strange / "finishes/flim")
    (strange / "manifest.json").unlink()
    write_manifest(strange)
    with pytest.raises(CheckpointError, match="a finish of a task that the model was not taught"):
        load(strange)


def test_what_a_finish_cannot_be_is_said_in_one_line(transfer_runs: TransferRuns, outcome: TrainingOutcome) -> None:
    with pytest.raises(ConfigError, match="one of them says how long"):
        FinishRecipe()
    with pytest.raises(UnknownNameError, match="finish.tasks names the task 'flim'; did you mean film"):
        transfer_runs.recipe("joint", [transfer_runs.task("film")], finish={"steps": 1, "tasks": ["flim"]})
    assert _finish(dataclasses.replace(outcome, recipe=dataclasses.replace(outcome.recipe, finish=None))) == {}
