import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

from banyan.train.callbacks import EvaluationRecord, EventRecord, FitResult, RunStart, StepRecord
from banyan.train.run_files import EventsFile, MetricsFile, TensorBoard, append_json_line, read_json_lines


def step_record(step: int, *, num_steps: int = 25, loss: float = 0.9) -> StepRecord:
    return StepRecord(
        step=step,
        num_steps=num_steps,
        loss=loss,
        task_losses={"words": loss * 2},
        learning_rate=0.001,
        grad_norm=0.4,
        num_tokens=100,
        tokens_per_second=50.0,
        seconds=2.0 * step,
        is_applied=True,
    )


def start(run: Path, *, step: int = 0) -> RunStart:
    return RunStart(step=step, num_steps=25, task_names=("words",), run_directory=run)


def test_metrics_have_a_line_for_the_first_the_last_and_every_tenth_step(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path, log_every=10)
    metrics.on_start(start(tmp_path))
    for step in range(1, 26):
        metrics.on_step(step_record(step))
    lines = read_json_lines(metrics.path)
    assert [line["step"] for line in lines] == [1, 10, 20, 25]
    assert lines[1] == {
        "step": 10,
        "loss": 0.9,
        "task_losses": {"words": 1.8},
        "learning_rate": 0.001,
        "grad_norm": 0.4,
        "tokens_per_second": 50.0,
        "seconds": 20.0,
    }


def test_a_resumed_run_leaves_no_seam_in_the_metrics(tmp_path: Path) -> None:
    metrics = MetricsFile(tmp_path, log_every=5)
    metrics.on_start(start(tmp_path))
    for step in range(1, 18):
        metrics.on_step(step_record(step))
    with metrics.path.open("a") as file:
        file.write('{"step": 18, "lo')  # the line a crash cut off
    resumed = MetricsFile(tmp_path, log_every=5)
    resumed.on_start(start(tmp_path, step=12))
    for step in range(13, 26):
        resumed.on_step(step_record(step))
    assert [line["step"] for line in read_json_lines(resumed.path)] == [1, 5, 10, 15, 20, 25]


def test_what_json_cannot_say_becomes_null(tmp_path: Path) -> None:
    append_json_line(tmp_path / "x", {"a": math.nan, "b": [math.inf, 1.0], "c": {"d": -math.inf}, "e": Path("p")})
    assert json.loads((tmp_path / "x").read_text()) == {"a": None, "b": [None, 1.0], "c": {"d": None}, "e": "p"}


def test_a_log_that_cannot_be_written_does_not_stop_a_run(tmp_path: Path) -> None:
    append_json_line(tmp_path / "missing" / "x", {"a": 1})


def test_events_say_when_and_what(tmp_path: Path) -> None:
    events = EventsFile(tmp_path)
    events.on_event(EventRecord(step=3, kind="step_skipped", detail={"loss": "nan"}))
    events.on_evaluation(EvaluationRecord(step=4, score=0.5, metrics={"f1": 0.5}, is_best=True, seconds=1.0))
    events.on_end(
        FitResult(
            steps=9, seconds=1, stopped_by="completed", last_checkpoint=tmp_path, best_checkpoint=tmp_path, best_step=4
        )
    )
    skipped, evaluated, ended = read_json_lines(events.path)
    assert (skipped["step"], skipped["event"], skipped["loss"]) == (3, "step_skipped", "nan")
    assert skipped["time"].endswith("+00:00")
    assert evaluated["metrics"] == {"f1": 0.5}
    assert ended["stopped_by"] == "completed"


def scalars(directory: Path) -> dict[tuple[str, int], float]:
    """Read TensorBoard's record format: length, checksum, event, checksum."""
    found: dict[tuple[str, int], float] = {}
    for path in directory.iterdir():
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event: Any = Event.FromString(data[at + 12 : at + 12 + length])
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
            at += 16 + length
    return found


def test_tensorboard_holds_the_same_numbers(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path, log_every=10)
    board.on_start(start(tmp_path))
    board.on_step(step_record(10))
    board.on_step(step_record(11))
    board.on_evaluation(
        EvaluationRecord(step=10, score=0.5, metrics={"ner": {"f1": 0.25, "note": "x"}}, is_best=True, seconds=1)
    )
    board.close()
    found = scalars(tmp_path / "tensorboard")
    assert found["train/loss", 10] == pytest.approx(0.9)
    assert found["train/loss/words", 10] == pytest.approx(1.8)
    assert found["evaluation/score", 10] == 0.5
    assert found["evaluation/ner/f1", 10] == 0.25
    assert ("train/loss", 11) not in found
