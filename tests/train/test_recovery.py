import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import DivergedError
from banyan.core.files import read_json
from banyan.data.batch import Batch
from banyan.testing.faults import AfterStep, FaultyLoader, poisoned
from banyan.testing.training import HEADS, tiny_loader, tiny_trainer
from banyan.train.callbacks import Callback, EventRecord, StepRecord
from banyan.train.health.config import HealthConfig
from banyan.train.losses import joint_loss
from banyan.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("light_runs")

NO_MEMORY = HealthConfig(max_snapshot_bytes=0)


class Rewinds(Callback):
    def __init__(self) -> None:
        self.events: list[EventRecord] = []

    def on_event(self, record: EventRecord) -> None:
        if record.kind == "rewound":
            self.events.append(record)


class Raise(Callback):
    """Raises the learning rate of a run after a step, as a wrong hand would."""

    trainer: Trainer

    def on_step(self, record: StepRecord) -> None:
        if record.step == 30:
            self.trainer._progress.learning_rate_scale = 30.0


def run(directory: Path, *, bad_steps: range, raises: bool = False) -> Rewinds:
    """Run with updates that are no numbers in some of the first steps, two micro-batches a step."""
    loss = lambda model, batch: joint_loss(model, batch, task_heads=HEADS)  # noqa: E731
    for step in bad_steps:
        loss = poisoned(loss, call=2 * step - 1)
    heard = Rewinds()
    train = {"health": NO_MEMORY, "checkpoint_every": 5}
    hand = Raise()
    callbacks = [heard, hand] if raises else [heard]
    trainer = tiny_trainer(directory, steps=40, train=train, loss_function=loss, callbacks=callbacks)
    hand.trainer = trainer
    trainer.fit()
    return heard


def test_a_run_that_diverges_goes_back_to_a_checkpoint(tmp_path: Path) -> None:
    (rewound,) = run(tmp_path, bad_steps=range(33, 36)).events
    assert (rewound.step, rewound.detail["from_step"], rewound.detail["to"]) == (25, 35, "checkpoint")
    assert read_json(tmp_path / "last" / "state.json")["learning_rate_scale"] == 0.7


def test_a_rate_that_was_raised_since_is_cured_by_going_back(tmp_path: Path) -> None:
    (rewound,) = run(tmp_path, bad_steps=range(33, 36), raises=True).events
    assert (rewound.step, rewound.detail["learning_rate_scale"]) == (25, 1.0)


def test_with_nothing_to_go_back_to_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="before it had saved anything"):
        run(tmp_path, bad_steps=range(2, 5))


class CrashError(Exception):
    """Stands for anything that ends a process without warning."""


def crash() -> None:
    raise CrashError


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def overflow(batch: Batch, number: int) -> Batch:
    return replace(batch, loss_weights=batch.loss_weights * 1e38)


def score(model: Any, step: int) -> dict[str, float]:
    return {"score": step}


def diverging(directory: Path, *callbacks: Callback, first: int) -> Trainer:
    """Return a trainer of forty steps whose loss is no number for three batches, wherever in the data it goes on."""
    return tiny_trainer(
        directory,
        steps=40,
        train={"checkpoint_every": 10, "evaluate_every": 5},
        loader=FaultyLoader(tiny_loader(), overflow, first=first, num=3),
        evaluator=score,
        callbacks=callbacks,
    )


def contents(run: Path) -> dict[str, Any]:
    state = read_json(run / "last" / "state.json")
    return {"state": {**state, "seconds": 0}, **{p.name: p.read_bytes() for p in run.glob("last/*.safetensors")}}


@pytest.mark.parametrize(
    ("first", "goes_back_to", "stops"),
    [
        (31, 20, [(25, interrupt), (32, crash)]),
        (31, 20, [(20, interrupt), (32, interrupt)]),
        (12, 0, [(4, interrupt), (13, interrupt)]),
    ],
    ids=["between two saves", "where an evaluation is due", "before the first save"],
)
def test_a_run_that_was_interrupted_goes_back_to_where_it_would_have_gone(
    tmp_path: Path, first: int, goes_back_to: int, stops: list[Any]
) -> None:
    heard = Rewinds()
    diverging(tmp_path / "whole", heard, first=first).fit()
    assert [event.step for event in heard.events] == [goes_back_to]
    for number, stop in enumerate([*stops, (0, interrupt)]):
        try:
            diverging(tmp_path / "stopped", AfterStep(*stop), first=first).fit(resume=number > 0)
        except CrashError:
            continue
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
