"""The matrix of faults is whole, and its page names every row."""

from __future__ import annotations

from pathlib import Path

import pytest
from proofs.training.evidence import Cell, Findings, NotPossibleHereError, table
from proofs.training.hostile import hostile_directory
from proofs.training.matrix import CELLS
from proofs.training.running import Runner

_SIZES = {"D-01": 200, "D-02": 63, "D-03": 3, "D-17": 30, "D-18": 5, "D-24": 50}
_QUICK = {f"D-{number:02d}" for number in (1, 2, 7, 8, 9, 10, 11, 12, 13, 25)}


def test_every_row_of_the_matrix_has_its_trials() -> None:
    assert [cell.number for cell in CELLS] == [f"D-{number:02d}" for number in range(1, 33)]
    sizes = {cell.number: cell.size for cell in CELLS}
    assert {number: sizes[number] for number in _SIZES} == _SIZES
    assert all(len(set(cell.trials)) == cell.size for cell in CELLS)


def test_a_kill_is_tried_on_every_kind_of_recipe(tmp_path: Path) -> None:
    kills = CELLS[0]
    findings = Findings(path=tmp_path / "D-01.json", trials={trial: {"outcome": "passed"} for trial in kills.quick})
    assert findings.count_by_kind(kills) == (
        "pretraining 3 of 50, joint 3 of 50, lora 2 of 25, image_tokenizer 2 of 25, head 0 of 25, unfreezing 0 of 25"
    )


def test_the_short_form_has_its_rows() -> None:
    assert {cell.number for cell in CELLS if cell.quick} == _QUICK
    assert all(set(cell.quick) <= set(cell.trials) for cell in CELLS)
    quick = {cell.number: len(cell.quick) for cell in CELLS}
    assert (quick["D-01"], quick["D-02"]) == (10, 9)


def test_the_page_names_every_row() -> None:
    page = (Path(__file__).parent.parent / "docs/proofs/training.md").read_text("utf-8")
    assert all(f"| {cell.number} |" in page for cell in CELLS)


def _cell() -> Cell:
    def run(bench: object, trial: str) -> str:
        if trial == "bad":
            raise AssertionError("it broke")
        if trial == "elsewhere":
            raise NotPossibleHereError("needs a moon")
        return "well"

    return Cell(number="D-99", fault="f", passes_if="p", trials=("good", "bad", "elsewhere"), run=run)


def test_a_trial_that_passed_is_not_done_again_and_one_that_failed_is_when_the_code_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proofs.training.running.import_what_a_run_needs", lambda: None)
    done = []
    for code in ("a", "a", "b"):
        runner = Runner(tmp_path, code=code, date="2026-01-01")
        runner.run([_cell()], seconds=60, quick=False, again=False)
        done.append(runner.num_failed)
    assert done == [1, 0, 1]
    findings = Findings.read(tmp_path, "D-99")
    assert {name: trial["outcome"] for name, trial in findings.trials.items()} == {
        "good": "passed",
        "bad": "failed",
        "elsewhere": "not possible",
    }
    assert "1 FAILED (needs a moon)" in table([_cell()], tmp_path)[-1]


def test_the_hostile_corpus_is_the_same_every_time(tmp_path: Path) -> None:
    good = Path(__file__).parent / "fixtures/run-format-1/run/checkpoints/step-00000004"
    names = [[hostile_directory(good, tmp_path / f"{turn}-{n}", n) for n in range(16)] for turn in range(2)]
    assert names[0] == names[1] and len({name.split()[0] for name in names[0]}) > 8
