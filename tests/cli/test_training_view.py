import dataclasses
import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from banyan.cli.training_view import TrainingPanel, clock, plain_line, sparkline
from banyan.workflows.reporter import LossTrend, TrainingView

VIEW = TrainingView(
    step=50,
    num_steps=100,
    losses=tuple(
        LossTrend(name=name, loss=1.25, course=(3.0, 2.0, 1.0)) for name in ("all tasks", "prose [x]", "榕树" * 20)
    ),
    learning_rate=3e-3,
    tokens_per_second=12345.6,
    utilisation=0.31,
    seconds_left=62.0,
    score=0.41,
    scored_step=40,
    best_score=0.43,
    sample="prose: 独木成林 → " + "一棵树就是一片森林" * 20,
)


def drawn(view: TrainingView, *, width: int = 90, height: int = 40) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=width, height=height, force_terminal=True, color_system=None).print(TrainingPanel(view))
    return screen.getvalue().rstrip("\n").split("\n")


def test_losses_speed_score_and_sample_are_shown() -> None:
    lines = drawn(VIEW)
    assert [line.split()[0] for line in lines[:2]] == ["all", "prose"] and "[x]" in lines[1] and "█▅▁" in lines[1]
    assert lines[3] == "  0:01:02 left · 12,346 tokens/s · MFU 31% · rate 3.00e-03"
    assert lines[4] == "  score 0.4100 at step 40 (best 0.4300)"
    assert lines[5].startswith("  sample prose: 独木成林 → 一棵树")


@pytest.mark.parametrize("width", [20, 44, 79, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = drawn(VIEW, width=width)
    assert len(lines) == 6
    assert all(cell_len(line) <= width for line in lines)


def test_a_narrow_terminal_keeps_the_losses_and_drops_their_course() -> None:
    line = drawn(VIEW, width=40)[0]
    assert "1.250" in line and "█" not in line


def test_a_low_terminal_counts_the_tasks_it_cannot_show() -> None:
    assert [line.strip() for line in drawn(VIEW, height=8)][:2] == [drawn(VIEW, height=8)[0].strip(), "… 2 more"]


def test_before_the_first_evaluation_there_is_no_score_and_no_sample() -> None:
    early = dataclasses.replace(VIEW, score=None, sample="", seconds_left=None, utilisation=None)
    assert drawn(early)[3:] == ["  12,346 tokens/s · rate 3.00e-03"]


def test_a_sample_cannot_command_the_terminal() -> None:
    assert "\x1b" not in "".join(drawn(dataclasses.replace(VIEW, sample="red \x1b[31m")))
    assert "\x1b" not in plain_line(dataclasses.replace(VIEW, losses=()))


def test_a_log_gets_one_line() -> None:
    line = plain_line(VIEW)
    assert line.startswith("step 50 of 100 · loss all tasks 1.250, prose [x] 1.250") and "\n" not in line
    assert line.endswith("score 0.4100 at step 40 (best 0.4300)")


@pytest.mark.parametrize(("values", "bars"), [((), ""), ((1.0, 1.0), "▁▁"), ((0.0, 7.0, 3.5), "▁█▅")])
def test_a_course_is_drawn_between_its_lowest_and_its_highest(values: tuple[float, ...], bars: str) -> None:
    assert sparkline(values) == bars


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00:00"), (62, "0:01:02"), (3723, "1:02:03")])
def test_a_time_is_written_as_a_clock_shows_it(seconds: float, text: str) -> None:
    assert clock(seconds) == text
