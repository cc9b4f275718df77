import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import BusyError, DataError, SpaceError
from banyan.workflows.answer_file import open_answer_file, plain_row

ROWS: list[dict[str, Any]] = [{"text": "a"}, {"text": "世", "weight": float("nan")}, {"image": b"123"}]
MARKS = {"task": "area", "model": "tiny 1"}


def write(path: Path, first: int, last: int) -> None:
    with open_answer_file(path, marks=MARKS) as file:
        assert file.keep_whole_lines(ROWS) == first
        file.append([{"row": n, "input": plain_row(ROWS[n])} for n in range(first, last)])


def test_lines_are_found_again_whatever_their_rows_hold(tmp_path: Path) -> None:
    path = tmp_path / "new" / "answers.jsonl"
    write(path, 0, 3)
    with open_answer_file(path, marks=MARKS) as file:
        assert file.keep_whole_lines(ROWS) == 3
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert first == {"task": "area", "model": "tiny 1", "row": 0, "input": {"text": "a"}}


def test_a_half_written_line_is_cut_off_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    write(path, 0, 3)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        num_lines = whole[:length].count(b"\n")
        with open_answer_file(path, marks=MARKS) as file:
            assert file.count() == num_lines
        write(path, num_lines, 3)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("not json", "does not answer row 1"),
        ("[]", "does not answer row 1"),
        ('{"input": {"text": "b"}}', "does not answer row 1"),
        ('{"task": "other", "input": {"text": "a"}}', "was answered with task 'other', not 'area'"),
        ('{"task": "area", "model": "big 2", "input": {"text": "a"}}', "was answered with model 'big 2'"),
    ],
)
def test_lines_of_another_job_are_refused_and_stay(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=problem), open_answer_file(path, marks=MARKS) as file:
        file.keep_whole_lines(ROWS)
    assert path.read_text() == line + "\n"


def test_more_lines_than_rows_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "answers.jsonl", 0, 3)
    with (
        pytest.raises(DataError, match="answers.jsonl:3 does not answer row 3"),
        open_answer_file(tmp_path / "answers.jsonl", marks=MARKS) as file,
    ):
        file.keep_whole_lines(ROWS[:2])


def test_a_lone_surrogate_stays_an_escape(tmp_path: Path) -> None:
    row = {"text": "caf\udce9"}
    with open_answer_file(tmp_path / "answers.jsonl", marks={}) as file:
        file.append([{"input": plain_row(row)}])
        assert file.keep_whole_lines([row]) == 1


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    with (tmp_path / "answers.jsonl").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another process"), open_answer_file(tmp_path / "answers.jsonl", marks={}):
            raise AssertionError("never reached")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "answers.jsonl"):
        with pytest.raises(SpaceError), open_answer_file(place, marks={}):
            raise AssertionError("never reached")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(SpaceError, match="the disk is full"), open_answer_file(tmp_path / "full", marks={}) as file:
        file.append([{"input": {}}])
