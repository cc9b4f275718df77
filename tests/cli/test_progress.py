import io
import re

import pytest
from rich.console import Console

from banyan.cli.progress import TerminalReporter


def reporter(*, terminal: bool = False, quiet: bool = False, width: int = 120) -> tuple[TerminalReporter, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, quiet=quiet, width=width, highlight=False)
    return TerminalReporter(console), screen


def work(told: TerminalReporter) -> None:
    told.stage("read")
    told.stage("train [step]")
    told.progress(1, 2, note="loss 0.5 [0.1]")
    told.line("a [line]")
    told.progress(2, 2)


def test_without_a_terminal_every_stage_is_a_line_when_it_is_over() -> None:
    told, screen = reporter()
    with told:
        work(told)
    lines = screen.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["read", "a [line]", "train [step]"]
    assert lines[0].endswith(" s") and lines[2].endswith("loss 0.5 [0.1]")


def test_a_terminal_shows_bars_with_names_as_they_are() -> None:
    told, screen = reporter(terminal=True)
    with told:
        work(told)
    shown = screen.getvalue()
    assert "train [step]" in shown and "100%" in shown and "a [line]" in shown


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_quiet_shows_nothing(terminal: bool) -> None:
    told, screen = reporter(terminal=terminal, quiet=True)
    with told:
        work(told)
    assert screen.getvalue() == ""


def test_a_stage_that_failed_is_not_told_as_done() -> None:
    told, screen = reporter()
    with pytest.raises(ValueError), told:
        told.stage("read")
        raise ValueError
    assert screen.getvalue() == ""


def test_closing_twice_tells_once_and_a_stage_may_follow() -> None:
    told, screen = reporter()
    for name in ("one", "two"):
        told.stage(name)
        told.close()
        told.close()
    assert [line.split(":")[0] for line in screen.getvalue().splitlines()] == ["one", "two"]


def test_progress_before_any_stage_is_ignored() -> None:
    told, screen = reporter()
    with told:
        told.progress(1, 2, note="nothing yet")
    assert screen.getvalue() == ""


def test_a_narrow_terminal_cuts_the_note_and_not_the_time_left() -> None:
    told, screen = reporter(terminal=True, width=80)
    with told:
        told.stage("train")
        told.progress(1, 2, note="step 1000 · loss 1.234 · 57,093 tokens/s · score 0.123")
    last = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).splitlines() if "train" in line][
        -1
    ]
    assert re.search(r"100% \d:\d\d:\d\d left +\d:\d\d:\d\d step 1000", last)
    assert last.rstrip().endswith("…") and len(last.split("\r")[-1]) <= 80
