"""What a parent could do, before and after, in one table."""

from pathlib import Path

from banyan.testing.transfer_runs import TransferRuns
from banyan.workflows.forgetting import OldScore, measure_parent, old_abilities_table, report_forgetting
from banyan.workflows.reporter import SilentReporter


def test_a_share_of_nothing_only_measures(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    parent = transfer_runs.folder / "parent/best"
    replay = {"share": 0.0, "held_out": str(transfer_runs.rows("text"))}
    recipe = transfer_runs.recipe("x", [transfer_runs.task("trip")], transfer={"parent": str(parent), "replay": replay})
    measure_parent(recipe, tmp_path, reporter=SilentReporter())
    report = report_forgetting(recipe, tmp_path, parent, reporter=SilentReporter())
    assert report is not None
    rows = [line for line in report.read_text().splitlines() if line.startswith("| ")][1:]
    assert [row.split("|")[1].strip() for row in rows] == ["text", "film", "held-out text"]
    assert all("+0.000" in row for row in rows)


def test_a_run_that_does_not_replay_has_no_such_report(transfer_runs: TransferRuns, tmp_path: Path) -> None:
    parent = transfer_runs.folder / "parent/best"
    recipe = transfer_runs.recipe("x", [transfer_runs.task("trip")], transfer={"parent": str(parent)})
    measure_parent(recipe, tmp_path, reporter=SilentReporter())
    assert report_forgetting(recipe, tmp_path, parent, reporter=SilentReporter()) is None
    assert not list(tmp_path.iterdir())


def test_the_table_says_which_way_is_better() -> None:
    before = {
        "lm": OldScore(metric="bits_per_byte", score=2.0, lower_is_better=True),
        "gone": OldScore(metric="accuracy", score=0.5, lower_is_better=False),
    }
    after = {"lm": OldScore(metric="bits_per_byte", score=2.5, lower_is_better=True)}
    assert old_abilities_table(before, after)[2:] == [
        "| lm | bits_per_byte ↓ | 2.000 | 2.500 | +0.500 worse |",
        "| gone | accuracy | 0.500 | – | – |",
    ]
