import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from banyan.cli.output import console, emit, print_table, say, to_plain


class Colour(StrEnum):
    RED = "red"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    path: Path
    colours: tuple[Colour, ...]
    scores: dict[str, float]
    picture: bytes = b"123"


REPORT = Report(path=Path("a/b"), colours=(Colour.RED,), scores={"f1": 0.5, "loss": float("nan"), "最": float("-inf")})


def test_a_report_becomes_what_json_knows() -> None:
    assert to_plain(REPORT) == {
        "path": "a/b",
        "colours": ["red"],
        "scores": {"f1": 0.5, "loss": None, "最": None},
        "picture": "<3 bytes>",
    }


@pytest.mark.parametrize("value", [True, 3, 0.5, "x", None, [], {}], ids=repr)
def test_plain_values_stay_as_they_are(value: Any) -> None:
    assert to_plain(value) == value and type(to_plain(value)) is type(value)


def test_json_is_one_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    emit(REPORT, as_json=True, quiet=True, text=lambda: say("for people"))
    printed = capsys.readouterr()
    assert json.loads(printed.out)["scores"]["最"] is None and "最" in printed.out
    assert printed.out.count("\n") == 1 and printed.err == ""


def test_quiet_says_nothing_and_otherwise_the_text_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    emit(REPORT, quiet=True, text=lambda: say("for people"))
    assert capsys.readouterr().out == ""
    emit(REPORT, text=lambda: say("for [people]"))
    assert capsys.readouterr().out == "for [people]\n"


def test_remarks_go_to_standard_error_unless_they_would_disturb(capsys: pytest.CaptureFixture[str]) -> None:
    for options in ({}, {"quiet": True}, {"as_json": True}):
        console(**options).print("a remark")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "a remark\n")


def test_a_table_shows_its_cells_whole_and_unread(capsys: pytest.CaptureFixture[str]) -> None:
    long = "0123456789abcdef" * 12
    print_table(("what", "value"), [("id", long), ("[bold]markup[/]", None), ("score", 0.123456)])
    out = capsys.readouterr().out
    assert long in out and "[bold]markup[/]" in out and "–" in out and "0.1235" in out
