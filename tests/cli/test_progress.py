import contextlib
import io
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from banyan.cli.progress import TerminalReporter
from banyan.workflows.reporter import LossTrend, TrainingView


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


def view(step: int) -> TrainingView:
    losses = (LossTrend(name="all tasks", loss=1.5, course=(2.0, 1.5)),)
    return TrainingView(step=step, num_steps=100, losses=losses, learning_rate=1e-3, tokens_per_second=1000.0)


def test_a_training_run_is_drawn_under_its_bar_and_gone_when_it_is_over() -> None:
    told, screen = reporter(terminal=True)
    with told:
        told.stage("train")
        told.progress(1, 100)
        told.training(view(1))
        ends_at = time.monotonic() + 20
        while "1,000 tokens/s" not in screen.getvalue() and time.monotonic() < ends_at:
            time.sleep(0.02)  # the screen is drawn a few times a second
        drawn = screen.getvalue()
        told.close()
    assert told.is_live and "all tasks" in drawn and "1,000 tokens/s" in drawn
    assert "all tasks" not in screen.getvalue()[len(drawn) :].split("train")[-1]


def test_without_a_terminal_a_training_run_is_a_line_twice_a_minute() -> None:
    screen, now = io.StringIO(), [0.0]
    told = TerminalReporter(Console(file=screen, width=200, highlight=False), clock=lambda: now[0])
    with told:
        told.stage("train")
        for step in range(1, 101):
            now[0] = float(step)
            told.training(view(step))
    lines = screen.getvalue().splitlines()
    assert not told.is_live
    assert [line.split(" · ")[0] for line in lines] == [f"step {n} of 100" for n in (30, 60, 90)] + ["train: 100.0 s"]


def test_a_narrow_terminal_drops_the_bar_and_keeps_the_numbers() -> None:
    told, screen = reporter(terminal=True, width=40)
    with told:
        told.stage("train")
        told.progress(1, 2)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "━" not in shown and re.search(r"train 100% left \d:\d\d:\d\d", shown)


PROGRAM = """
import signal
from rich.console import Console
from banyan.cli.progress import TerminalReporter
from banyan.workflows.reporter import LossTrend, TrainingView
losses = (LossTrend(name="all tasks", loss=1.5, course=(2.0, 1.5)),)
view = TrainingView(step=1, num_steps=2, losses=losses, learning_rate=1e-3, tokens_per_second=1.0, sample="榕树 → 森林")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
with TerminalReporter(Console(stderr=True, highlight=False)) as told:
    told.stage("train")
    told.progress(1, 2)
    told.training(view)
    signal.sigtimedwait({signal.SIGUSR1}, 60)  # until it has been seen
print("saved step 1", flush=True)
"""


SAMPLE = "sample 榕树 → 森林"


def test_on_a_real_terminal_the_view_is_drawn_and_what_follows_begins_a_line_of_its_own() -> None:
    terminal, inside = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment) as process:
        os.close(inside)
        shown, is_seen = b"", False
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while piece := os.read(terminal, 4096):
                shown += piece
                if not is_seen and all(part.encode() in shown for part in ("all tasks", SAMPLE)):
                    process.send_signal(signal.SIGUSR1)
                    is_seen = True
    os.close(terminal)
    assert process.returncode == 0
    text = shown.decode()
    assert is_seen, text
    assert text.endswith("saved step 1\r\n") and text[: -len("saved step 1\r\n")].endswith(("\n", "\x1b[?25h"))
