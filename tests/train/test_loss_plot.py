from pathlib import Path

import pytest
from PIL import Image

from banyan.core.errors import SpaceError
from banyan.testing.training import tiny_trainer
from banyan.train.callbacks import EvaluationRecord, FitResult, RunStart
from banyan.train.loss_plot import LossPlot, draw_losses
from banyan.train.run_files import append_json_line

RESULT = FitResult(
    steps=1, seconds=1.0, stopped_by="completed", last_checkpoint=Path(), best_checkpoint=Path(), best_step=1
)


def write_run(run: Path, *, num_lines: int = 20) -> None:
    for step in range(1, num_lines + 1):
        losses = {"words": 5.0 / step, **({"labels": 1.0} if step % 2 else {})}
        append_json_line(run / "metrics.jsonl", {"step": step, "loss": 1.0 / step, "task_losses": losses})
    append_json_line(run / "events.jsonl", {"step": 4, "event": "evaluated", "score": 0.5})


@pytest.mark.parametrize("num_lines", [0, 1, 20])
def test_a_picture_is_drawn_however_little_there_is_to_show(tmp_path: Path, num_lines: int) -> None:
    write_run(tmp_path, num_lines=num_lines)
    draw_losses(tmp_path, task_names=("words", "labels"))
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height


def test_more_tasks_need_a_larger_picture(tmp_path: Path) -> None:
    write_run(tmp_path)
    heights = []
    for names in (("words",), tuple("abcdefgh")):
        draw_losses(tmp_path, task_names=names)
        with Image.open(tmp_path / "loss.png") as picture:
            heights.append(picture.height)
    assert heights[1] > heights[0]


def test_pictures_are_drawn_at_the_first_evaluation_then_not_too_often_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, drawn = [0.0], []
    monkeypatch.setattr("banyan.train.loss_plot.draw_losses", lambda run, **_: drawn.append(now[0]))
    plot = LossPlot(tmp_path, clock=lambda: now[0])
    for now[0] in (1.0, 11.0, 30.0, 31.0, 40.0):
        plot.on_evaluation(EvaluationRecord(step=1, score=1.0, metrics={}, is_best=True, seconds=0.1))
    plot.on_end(RESULT)
    assert drawn == [1.0, 31.0, 40.0]


@pytest.mark.parametrize(("unit", "title"), [("nats", "words (nats)"), ("", "words")])
def test_a_loss_carries_its_unit_where_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, title: str
) -> None:
    titles: list[str] = []
    monkeypatch.setattr("banyan.train.loss_plot._draw_panels", lambda panels: titles.extend(panels) or b"")
    write_run(tmp_path)
    draw_losses(tmp_path, task_names=("words",), unit=unit)
    assert titles[1] == title and ("knows nothing" in titles[0]) is bool(unit)


def test_a_whole_run_leaves_a_picture(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, steps=2).fit()
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.format == "PNG"


def test_a_picture_that_cannot_be_written_does_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise SpaceError("the disk is full")

    monkeypatch.setattr("banyan.train.loss_plot.atomic_write_bytes", refuse)
    plot = LossPlot(tmp_path)
    plot.on_start(RunStart(step=0, num_steps=1, task_names=("words",), run_directory=tmp_path))
    plot.on_evaluation(EvaluationRecord(step=1, score=1.0, metrics={}, is_best=True, seconds=0.1))
    assert not (tmp_path / "loss.png").exists()
