import json
from pathlib import Path

from banyan.workflows.conflict_report import conflict_section


def write(run: Path, *lines: object) -> Path:
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def test_the_newest_cosines_are_shown_as_a_matrix(tmp_path: Path) -> None:
    old = {"step": 200, "task_cosines": {"a / b": 0.9}}
    new = {"step": 400, "task_cosines": {"a / b": -0.2, "a / c": 0.5}}
    lines = conflict_section(write(tmp_path, old, new, {"step": 410}))
    assert "at step 400" in lines[3] and "50% of the pairs" in lines[3]
    assert lines[5:] == [
        "| | a | b | c |",
        "|---|---|---|---|",
        "| a | – | -0.20 | 0.50 |",
        "| b | -0.20 | – | – |",
        "| c | 0.50 | – | – |",
    ]


def test_a_run_that_was_never_looked_at_has_no_such_part(tmp_path: Path) -> None:
    assert conflict_section(write(tmp_path, {"step": 1})) == []
