from pathlib import Path

import pytest

from banyan.train.callbacks import (
    Callback,
    CheckpointRecord,
    EvaluationRecord,
    EventRecord,
    FitResult,
    Record,
    RunStart,
    StepRecord,
    tell,
)

RECORDS: dict[str, Record] = {
    "on_start": RunStart(step=0, num_steps=3, task_names=("a",), run_directory=Path()),
    "on_step": StepRecord(
        step=1,
        num_steps=3,
        loss=1.0,
        task_losses={},
        learning_rate=0.1,
        grad_norm=1.0,
        num_tokens=5,
        tokens_per_second=9.0,
        seconds=1.0,
        is_applied=True,
    ),
    "on_evaluation": EvaluationRecord(step=1, score=0.5, metrics={}, is_best=True, seconds=0.1),
    "on_checkpoint": CheckpointRecord(step=1, path=Path(), size_bytes=1, is_best=True, seconds=0.1),
    "on_event": EventRecord(step=1, kind="started"),
    "on_end": FitResult(
        steps=3, seconds=1.0, stopped_by="completed", last_checkpoint=Path(), best_checkpoint=Path(), best_step=3
    ),
}


@pytest.mark.parametrize("method", RECORDS)
def test_each_kind_of_record_reaches_its_method_of_every_callback(method: str) -> None:
    heard: list[tuple[int, Record]] = []

    class Listener(Callback):
        def __init__(self, number: int) -> None:
            setattr(self, method, lambda record: heard.append((number, record)))

    tell((Listener(0), Callback(), Listener(1)), RECORDS[method])
    assert heard == [(0, RECORDS[method]), (1, RECORDS[method])]
