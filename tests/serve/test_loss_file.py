"""Curves that are read while they grow are those that are read at the end."""

from __future__ import annotations

import math
from pathlib import Path

from banyan.core.run_directory import METRICS_FILE
from banyan.serve.loss_file import LossFile, ThinnedCurves
from banyan.testing.recorded_runs import TASKS, add_losses, loss_line


def test_a_point_is_the_mean_of_its_steps_and_there_are_never_more_than_asked() -> None:
    curves = ThinnedCurves(max_points=8)
    for step in range(1, 101):
        curves.add(step, {"even": float(step)} if step % 2 == 0 else {"odd": float(step)})
    assert len(curves.steps) <= 8 and curves.steps[-1] == 100
    start = 0
    for step, even, odd in zip(curves.steps, *curves.curves.values(), strict=True):
        inside = range(start + 1, step + 1)
        for name, value in (("odd", even), ("even", odd)):
            expected = [each for each in inside if (each % 2 == 0) == (name == "even")]
            assert math.isclose(value or 0, sum(expected) / len(expected))
        start = step


def test_a_file_that_is_read_while_it_grows_tells_what_one_reading_tells(tmp_path: Path) -> None:
    often, path = LossFile(tmp_path / METRICS_FILE), tmp_path / METRICS_FILE
    assert often.read().steps == []
    for end in (3, 700, 1500):
        begin = (often.read().newest.get("step") or 0) + 1
        add_losses(tmp_path, range(int(begin), end))
        often.read()
    with path.open("a", encoding="utf-8") as file:
        file.write(loss_line(1500)[:40])  # a line in the making
    now, once = often.read(), LossFile(path).read()
    assert (now.steps, now.task_losses, now.newest) == (once.steps, once.task_losses, once.newest)
    assert now.newest["step"] == 1499 and list(now.task_losses) == list(TASKS) and len(now.steps) <= 500


def test_a_run_that_went_back_is_read_anew(tmp_path: Path) -> None:
    file, path = LossFile(tmp_path / METRICS_FILE), tmp_path / METRICS_FILE
    add_losses(tmp_path, range(1, 30))
    assert file.read().steps[-1] == 29
    (tmp_path / "again").write_text("".join(loss_line(step) for step in range(1, 40)))
    (tmp_path / "again").replace(path)  # longer than before, and yet another file
    assert len(file.read().steps) == 39


def test_lines_that_are_no_losses_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / METRICS_FILE
    lines = (
        "null",
        "[]",
        "{",
        '{"step": true}',
        '{"step": -1}',
        '{"step": 2, "loss": NaN, "task_losses": {"a": 1e999}}',
    )
    path.write_text("\n".join(lines) + "\n" + loss_line(3))
    read = LossFile(path).read()
    assert read.steps == [2, 3] and read.loss == [None, 0.997]
