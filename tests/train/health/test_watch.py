"""The watch inside whole runs: faults are named, survived, and decided alike after a resume."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from banyan.core.errors import DataError
from banyan.core.files import read_json
from banyan.testing.faults import Change, FaultyLoader, mask_all, poisoned, raise_ids, shuffle_targets
from banyan.testing.training import HEADS, tiny_loader, tiny_trainer
from banyan.train.callbacks import Callback, EventRecord
from banyan.train.health.config import HealthConfig
from banyan.train.losses import joint_loss
from banyan.train.run_files import read_json_lines

pytestmark = pytest.mark.usefixtures("light_runs")


class Heard(Callback):
    def __init__(self) -> None:
        self.events: list[EventRecord] = []

    def on_event(self, record: EventRecord) -> None:
        self.events.append(record)

    def signals(self) -> list[tuple[int, str]]:
        return [(e.step, e.detail["signal"]) for e in self.events if e.kind == "alarm"]

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def faulty(change: Change, *, first: int, num: int) -> FaultyLoader:
    return FaultyLoader(tiny_loader(size=400), change, first=first, num=num)


@pytest.mark.parametrize(
    ("change", "name"),
    [(mask_all, "masked_batch"), (shuffle_targets, "wrong_targets"), (raise_ids(vocab_size=320), "wrong_vocabulary")],
    ids=["masked", "shuffled", "unknown ids"],
)
def test_bad_batches_are_named_left_out_and_survived(tmp_path: Path, change: Change, name: str) -> None:
    heard = Heard()
    loader = faulty(change, first=40, num=3)
    result = tiny_trainer(tmp_path, steps=44, loader=loader, callbacks=[heard]).fit()
    assert result.steps == 44
    assert heard.signals() == [(40, name)]
    assert heard.kinds().count("step_skipped") == 3
    (alarm,) = (e for e in read_json_lines(tmp_path / "events.jsonl") if e["event"] == "alarm")
    assert alarm["action"] == "skipped" and alarm["data"]["step"] == 40
    assert [set(row) for row in alarm["rows"]] == [{"tasks", "sha256"}] * 4


def test_data_that_cannot_be_learned_from_at_all_ends_the_run(tmp_path: Path) -> None:
    heard = Heard()
    trainer = tiny_trainer(tmp_path, steps=60, loader=faulty(mask_all, first=1, num=99), callbacks=[heard])
    with pytest.raises(DataError, match="30 of the last 100 batches") as caught:
        trainer.fit()
    assert caught.value.exit_code == 5 and heard.kinds()[-1] == "stopped"


def test_without_the_watch_a_masked_batch_ends_the_run_as_it_always_did(tmp_path: Path) -> None:
    loader = faulty(mask_all, first=2, num=1)
    with pytest.raises(DataError, match="no position that carries loss"):
        tiny_trainer(tmp_path, steps=4, train={"health": HealthConfig(watch=False)}, loader=loader).fit()


def poisoned_thrice() -> Any:
    loss: Any = lambda model, batch: joint_loss(model, batch, task_heads=HEADS)  # noqa: E731
    for call in (61, 63, 65):  # two micro-batches a step: steps 31, 32, 33
        loss = poisoned(loss, call=call)
    return loss


TRAIN = {"checkpoint_every": 10, "log_every": 5}


def rewound_run(directory: Path) -> Heard:
    """Run forty steps that go back once, from step 33 to the checkpoint of step 20."""
    heard = Heard()
    tiny_trainer(directory, steps=40, train=TRAIN, loss_function=poisoned_thrice(), callbacks=[heard]).fit()
    return heard


def weights(directory: Path) -> bytes:
    return (directory / "last" / "model.safetensors").read_bytes()


def test_updates_that_keep_failing_send_the_run_back_with_a_lower_rate_and_the_data_goes_on(tmp_path: Path) -> None:
    heard = rewound_run(tmp_path)
    (rewound,) = (event for event in heard.events if event.kind == "rewound")
    assert (rewound.step, rewound.detail["from_step"], rewound.detail["learning_rate_scale"]) == (20, 33, 0.7)
    state = read_json(tmp_path / "last" / "state.json")
    assert state["step"] == 40 and state["learning_rate_scale"] == 0.7
    assert sum(place["num_rows"] for place in state["loader"]["places"].values()) == (33 + 20) * 4
    assert [line["step"] for line in read_json_lines(tmp_path / "metrics.jsonl")] == [1, *range(5, 41, 5)]
    checkpoints = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert checkpoints == ["step-00000030", "step-00000040"]


def test_a_run_resumed_after_it_went_back_ends_with_the_same_bits(tmp_path: Path) -> None:
    rewound_run(tmp_path / "whole")

    class Stop(Callback):
        has_gone_back = False

        def on_event(self, record: EventRecord) -> None:
            self.has_gone_back |= record.kind == "rewound"

        def on_step(self, record: Any) -> None:
            if self.has_gone_back and record.step == 27:
                os.kill(os.getpid(), signal.SIGINT)

    stopped = tiny_trainer(
        tmp_path / "stopped", steps=40, train=TRAIN, loss_function=poisoned_thrice(), callbacks=[Stop()]
    ).fit()
    assert (stopped.steps, stopped.stopped_by) == (27, "interrupt")
    tiny_trainer(tmp_path / "stopped", steps=40, train=TRAIN).fit(resume=True)
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    whole, resumed = (read_json(tmp_path / name / "last" / "state.json") for name in ("whole", "stopped"))
    assert {**whole, "seconds": 0} == {**resumed, "seconds": 0}


def test_the_same_faults_lead_to_the_same_weights(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(len(name))
        tiny_trainer(tmp_path / name, steps=40, loader=faulty(shuffle_targets, first=36, num=2)).fit()
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
