from pathlib import Path

import pytest

from banyan.core.errors import DivergedError
from banyan.core.files import read_json
from banyan.testing.faults import poisoned
from banyan.testing.training import HEADS, tiny_trainer
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


def test_a_model_too_large_for_snapshots_goes_back_to_a_checkpoint(tmp_path: Path) -> None:
    (rewound,) = run(tmp_path, bad_steps=range(33, 36)).events
    assert (rewound.step, rewound.detail["from_step"], rewound.detail["to"]) == (25, 35, "checkpoint")
    assert read_json(tmp_path / "last" / "state.json")["learning_rate_scale"] == 0.7


def test_a_rate_that_was_raised_since_is_cured_by_going_back(tmp_path: Path) -> None:
    (rewound,) = run(tmp_path, bad_steps=range(33, 36), raises=True).events
    assert (rewound.step, rewound.detail["learning_rate_scale"]) == (25, 1.0)


def test_with_nothing_to_go_back_to_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="before it had saved anything"):
        run(tmp_path, bad_steps=range(2, 5))
