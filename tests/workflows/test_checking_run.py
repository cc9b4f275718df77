import dataclasses
from pathlib import Path

import pytest

from banyan.testing.transfer_runs import TransferRuns
from banyan.workflows.checking_run import Check, check_run, exit_code_of, small_batch
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome


@pytest.fixture(scope="module")
def checks(tiny_run: TrainingOutcome) -> list[Check]:
    return check_run(tiny_run.recipe, reporter=SilentReporter())


def test_everything_a_run_depends_on_is_tried(checks: list[Check], tiny_run: TrainingOutcome) -> None:
    targets = [f"targets of {task.name}" for task in tiny_run.material.tasks]
    names = [check.name for check in checks]
    assert names == ["vocabulary", *targets, "masks", "gradients", "one batch by heart", "memory", "pace"]
    assert [check.name for check in checks if check.state == "failed"] == []


def test_nothing_is_written_into_the_runs_folder(
    tiny_run: TrainingOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANYAN_RUNS", str(tmp_path))
    slow = dataclasses.replace(tiny_run.recipe.optimizer, name="adamw", learning_rate=1e-9)
    found = check_run(dataclasses.replace(tiny_run.recipe, optimizer=slow), reporter=SilentReporter())
    assert list(tmp_path.iterdir()) == []
    (failed,) = [check for check in found if check.state == "failed"]
    assert failed.name == "one batch by heart" and failed.hint
    assert exit_code_of(found) == 7


def test_a_head_on_a_frozen_trunk_is_warned_of_where_it_learns_slowly(transfer_runs: TransferRuns) -> None:
    transfer = {"parent": str(transfer_runs.folder / "parent"), "mode": "head"}
    slow = {"name": "adamw", "learning_rate": 1e-9}
    found = check_run(
        transfer_runs.recipe("child", [transfer_runs.task("trip")], transfer=transfer, optimizer=slow),
        reporter=SilentReporter(),
    )
    states = {check.name: check.state for check in found}
    assert states.pop("one batch by heart") == "warning"
    assert set(states.values()) == {"ok"}


def test_the_first_failure_decides_the_exit_code() -> None:
    ok, warning = (Check(name="a", state=state, found="") for state in ("ok", "warning"))
    failed = [Check(name="b", state="failed", found="", exit_code=code) for code in (5, 9)]
    assert exit_code_of([ok, warning]) == 0
    assert exit_code_of([ok, warning, *failed]) == 5


def test_the_batch_that_is_learned_by_heart_holds_every_task(tiny_run: TrainingOutcome) -> None:
    material = tiny_run.material
    samples = {source.task: [source[0], source[1]] for source in material.sources}
    batch = small_batch(material, samples, seq_len=tiny_run.recipe.train.seq_len)
    weights = batch.weights_by_task(len(material.tasks))
    assert (weights > 0).all() and len(batch.token_ids) == len(material.tasks)
