"""Old material is mixed into the new in the share that was asked for, and the report shows what was forgotten."""

import json

import pytest

from banyan.core.errors import ConfigError, UnknownNameError
from banyan.runtime.description import read_description
from banyan.testing.transfer_runs import TransferRuns
from banyan.workflows.replay import with_replay
from banyan.workflows.resuming import settle_recipe
from banyan.workflows.training import TrainingOutcome


@pytest.fixture(scope="module")
def replayed(transfer_runs: TransferRuns) -> TrainingOutcome:
    """A child that replays rows of one of its parent's tasks, and texts that the parent writes."""
    replay = {
        "share": 0.5,
        "data": {"film": str(transfer_runs.rows("film"))},
        "generated": 5,
        "max_new_tokens": 8,
        "held_out": str(transfer_runs.rows("text")),
    }
    transfer = {"parent": str(transfer_runs.folder / "parent"), "replay": replay}
    return transfer_runs.run("replayed", [transfer_runs.task("trip")], transfer=transfer)


def test_old_material_has_its_share_of_the_rows(replayed: TrainingOutcome) -> None:
    rates = replayed.material.rates
    assert rates == {"trip": 0.5, "film": 0.25, "replay": 0.25}
    assert read_description(replayed.result.last_checkpoint).task_names == ("text", "film", "trip", "replay")


def test_the_parent_writes_texts_into_the_runs_folder(replayed: TrainingOutcome) -> None:
    lines = (replayed.run_directory / "replay/texts.jsonl").read_text().splitlines()
    assert len(lines) == 5 and all(json.loads(line)["text"] for line in lines)


def test_the_report_shows_old_abilities_before_and_after_in_one_table(replayed: TrainingOutcome) -> None:
    report = (replayed.run_directory / "report.md").read_text()
    rows = [line.split("|")[1].strip() for line in report.splitlines() if line.startswith("| ")][1:]
    assert rows == ["text", "film", "held-out text"]
    assert "50% of the training rows were old material" in report


def test_a_resolved_recipe_asks_for_the_same_again(transfer_runs: TransferRuns, replayed: TrainingOutcome) -> None:
    recipe = replayed.recipe
    assert settle_recipe(recipe, transfer_runs.folder / "elsewhere", resume=False) == recipe


def test_rates_that_are_all_given_leave_room_for_the_share(transfer_runs: TransferRuns) -> None:
    replay = {"share": 0.2, "generated": 5}
    tasks = [transfer_runs.task("trip", rate=0.5), transfer_runs.task("width", "question_answering", rate=0.3)]
    recipe = transfer_runs.recipe("x", tasks, transfer={"parent": "p", "replay": replay})
    rates = [task.rate or 0.0 for task in with_replay(recipe, {}, transfer_runs.folder / "x").tasks]
    assert rates[2] / sum(rates) == pytest.approx(0.2)


def test_rows_of_what_the_parent_does_not_know_are_refused(transfer_runs: TransferRuns) -> None:
    transfer = {"parent": str(transfer_runs.folder / "parent"), "replay": {"data": {"films": "x.jsonl"}}}
    recipe = transfer_runs.recipe("x", [transfer_runs.task("trip")], transfer=transfer)
    with pytest.raises(UnknownNameError, match="names 'films', which is no task of the parent; did you mean film"):
        settle_recipe(recipe, transfer_runs.folder / "x", resume=False)


def test_a_task_is_taught_or_replayed_not_both(transfer_runs: TransferRuns) -> None:
    transfer = {"parent": str(transfer_runs.folder / "parent"), "replay": {"data": {"film": "x.jsonl"}}}
    recipe = transfer_runs.recipe("x", [transfer_runs.task("film")], transfer=transfer)
    with pytest.raises(ConfigError, match="names film, which the recipe teaches anyway"):
        settle_recipe(recipe, transfer_runs.folder / "x", resume=False)
