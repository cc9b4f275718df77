"""The matrix of faults is whole, and its page names every row."""

from __future__ import annotations

from pathlib import Path

from proofs.evidence import Findings
from proofs.training.hostile import hostile_directory
from proofs.training.matrix import CELLS

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


def test_the_hostile_corpus_is_the_same_every_time(tmp_path: Path) -> None:
    good = Path(__file__).parent / "fixtures/run-format-1/run/checkpoints/step-00000004"
    names = [[hostile_directory(good, tmp_path / f"{turn}-{n}", n) for n in range(16)] for turn in range(2)]
    assert names[0] == names[1] and len({name.split()[0] for name in names[0]}) > 8
