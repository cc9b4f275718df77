"""What proofs share: trials are done once, and noted at once."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from proofs.evidence import Cell, Findings, NotPossibleHereError, table, take_record, write_page, write_record
from proofs.runner import Runner


def _cell() -> Cell:
    def run(bench: object, trial: str) -> str:
        if trial == "bad":
            raise AssertionError("it broke")
        if trial == "elsewhere":
            raise NotPossibleHereError("needs a moon")
        return "well"

    return Cell(number="D-99", fault="f", passes_if="p", trials=("good", "bad", "elsewhere"), run=run)


def test_a_trial_that_passed_is_not_done_again_and_one_that_failed_is_when_the_code_has_changed(
    tmp_path: Path,
) -> None:
    done = []
    for code in ("a", "a", "b"):
        runner = Runner(tmp_path, nullcontext, code=code, date="2026-01-01")
        runner.run([_cell()], seconds=60, again=False)
        done.append(runner.num_failed)
    assert done == [1, 0, 1]
    findings = Findings.read(tmp_path, "D-99")
    assert {name: trial["outcome"] for name, trial in findings.trials.items()} == {
        "good": "passed",
        "bad": "failed",
        "elsewhere": "not possible",
    }
    assert "1 FAILED (needs a moon)" in table([_cell()], tmp_path)[-1]


def test_another_machine_goes_on_where_the_record_says_what_has_passed(tmp_path: Path) -> None:
    here, there, record = tmp_path / "here", tmp_path / "there", tmp_path / "docs/record.json"
    runner = Runner(here, nullcontext, code="a", date="2026-01-01")
    runner.run([_cell()], seconds=60, again=False)
    write_record(record, [_cell()], here)

    there.mkdir()
    own = Findings.read(there, "D-99")
    own.note("bad", outcome="passed", seen="mended", seconds=1.0, code="b", date="2026-01-02")
    take_record(record, there)
    found = Findings.read(there, "D-99").trials
    assert {name: (one["outcome"], one["date"]) for name, one in found.items()} == {
        "good": ("passed", "2026-01-01"),
        "bad": ("passed", "2026-01-02"),  # what is known here stays
    }
    write_record(record, [_cell()], there)
    again = record.read_bytes()
    take_record(record, there)
    write_record(record, [_cell()], there)
    assert record.read_bytes() == again


def test_a_proof_without_a_record_begins_with_what_its_folder_holds(tmp_path: Path) -> None:
    take_record(tmp_path / "none.json", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_page_shows_the_table_between_its_marks_and_how_large_a_trial_is(tmp_path: Path) -> None:
    cell = Cell(number="D-98", fault="f", passes_if="p", trials=("1", "2"), run=lambda *_: "", trial_size="50 requests")
    Findings(path=tmp_path / "D-98.json").note(
        "2", outcome="passed", seen="well", seconds=1.0, code="a", date="2026-01-01"
    )
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->old<!-- b -->after\n")
    write_page(page, [cell], tmp_path, begin="<!-- a -->", end="<!-- b -->")
    written = page.read_text()
    assert written.startswith("before\n<!-- a -->\n") and written.endswith("<!-- b -->after\n")
    assert "old" not in written and "1 trials have passed" in written
    assert "| D-98 | f | p | 1 of 2 × 50 requests | 1 |" in written


def test_a_page_counts_no_trial_under_a_name_that_the_matrix_no_longer_has(tmp_path: Path) -> None:
    findings = Findings(path=tmp_path / "D-99.json")
    for name, date in (("good", "2026-01-02"), ("an earlier name", "2026-01-01")):
        findings.note(name, outcome="passed", seen="well", seconds=1.0, code=date, date=date)
    page = tmp_path / "page.md"
    page.write_text("<!-- a --><!-- b -->\n")
    write_page(page, [_cell()], tmp_path, begin="<!-- a -->", end="<!-- b -->")
    assert "1 trials have passed between 2026-01-02 and 2026-01-02, on 1 states of the sources" in page.read_text()
