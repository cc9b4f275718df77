import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from banyan.core.errors import DataError
from banyan.core.files import read_json
from banyan.data.batch import Batch, TrainableBatch
from banyan.data.features import FeatureLoader
from banyan.data.loader import MixtureLoader
from banyan.data.pace import Paces
from banyan.data.sequences import ExampleSequences
from banyan.testing.faults import AfterStep, FaultyLoader
from banyan.testing.training import HEADS, SEQ_LEN, TASKS, tiny_loader, tiny_sequence, tiny_trainer
from banyan.train.callbacks import Callback, EventRecord, StepRecord
from banyan.train.losses import TaskLosses, joint_loss
from banyan.train.prefetch import THREAD, PrefetchedBatches, StepBatches, is_prefetched
from banyan.train.run_files import read_json_lines
from banyan.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("light_runs")

CPU = torch.device("cpu")


class CrashError(Exception):
    """Stands for anything that ends a process without warning."""


def crash() -> None:
    raise CrashError


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Heard(Callback):
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.events: list[EventRecord] = []

    def on_step(self, record: StepRecord) -> None:
        self.steps.append(record.step)

    def on_event(self, record: EventRecord) -> None:
        self.events.append(record)


def paced_mixture() -> MixtureLoader:
    """Return a mixture whose tasks are slowed down by a validation that finds them no better."""
    sources = [
        ExampleSequences(task, [tiny_sequence(task, 100 * k + i) for i in range(40)]) for k, task in enumerate(TASKS)
    ]
    return MixtureLoader(
        sources,
        rates={"words": 0.5, "labels": 0.25, "spans": 0.25},
        seq_len=SEQ_LEN,
        rows_per_batch=4,
        pad_id=0,
        task_names=TASKS,
        seed=0,
        paces=Paces(TASKS, slow_after=1, slow_factor=0.1),
    )


def overflow(batch: Batch, number: int) -> Batch:
    return replace(batch, loss_weights=batch.loss_weights * 1e38)


class Eventful:
    """A run of ramps, epochs, slowed tasks, skipped updates and a way back, and the batches it learned from."""

    def __init__(self, directory: Path, *, prefetch: bool, action: Any = None, at: int = 0) -> None:
        self.learned: list[str] = []
        self.heard = Heard()
        self.mixture = paced_mixture()
        self.directory = directory
        self.trainer: Trainer = tiny_trainer(
            directory,
            steps=40,
            train={
                "prefetch": prefetch,
                "checkpoint_every": 10,
                "evaluate_every": 5,
                "batch_ramp": (0.5, 1),
                "seq_len_ramp": (8, 16),
            },
            loader=FaultyLoader(self.mixture, overflow, first=31, num=3),
            evaluator=self.score,
            callbacks=[self.heard, *([AfterStep(at, action)] if action else [])],
            loss_function=self.loss,
        )

    def score(self, model: Any, step: int) -> Mapping[str, float]:
        self.mixture.hear_scores({"words": step, "labels": 0.5, "spans": -step})
        return {"score": step}

    def loss(self, model: Any, batch: Batch) -> TaskLosses:
        tensors = (batch.token_ids, batch.targets, batch.task_ids, batch.noise_seeds)
        self.learned.append(sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest())
        return joint_loss(model, batch, task_heads=HEADS)

    def outcome(self) -> dict[str, Any]:
        last = self.directory / "last"
        state = {**read_json(last / "state.json"), "seconds": 0}
        del state["settings"]["train"]["prefetch"]
        lines = read_json_lines(self.directory / "metrics.jsonl")
        metrics = [(line["step"], line["loss"], line["task_losses"], line["grad_norm"]) for line in lines]
        tensors = {path.name: path.read_bytes() for path in last.glob("*.safetensors")}
        return {"state": state, "metrics": repr(metrics), **tensors}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Eventful:
    """The eventful run with every batch drawn when its step begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("banyan.train.loss_plot.draw_losses", lambda run_directory, **_: None)
        run = Eventful(tmp_path_factory.mktemp("plain"), prefetch=False)
        run.trainer.fit()
    return run


def input_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(THREAD)]


def test_the_compared_run_goes_through_all_that_may_change_the_next_batch(plain: Eventful) -> None:
    kinds = [event.kind for event in plain.heard.events]
    assert kinds.count("step_skipped") == 3 and "rewound" in kinds
    assert plain.heard.steps != sorted(plain.heard.steps)
    assert plain.mixture.state()["paces"]["stalled"]["labels"] > 0
    assert max(plain.mixture.epochs().values()) > 2


def test_a_run_that_draws_ahead_learns_the_same_from_the_same_batches(tmp_path: Path, plain: Eventful) -> None:
    ahead = Eventful(tmp_path, prefetch=True)
    ahead.trainer.fit()
    assert isinstance(ahead.trainer._batches, PrefetchedBatches)
    assert ahead.learned == plain.learned
    assert ahead.outcome() == plain.outcome()
    assert [(e.step, e.kind, e.detail) for e in ahead.heard.events if e.kind in {"step_skipped", "rewound"}] == [
        (e.step, e.kind, e.detail) for e in plain.heard.events if e.kind in {"step_skipped", "rewound"}
    ]
    assert input_threads() == []


@pytest.mark.parametrize(
    "stops",
    [[(13, crash, True), (20, interrupt, True), (32, crash, True)], [(17, crash, False), (32, interrupt, True)]],
    ids=["always ahead", "now and then"],
)
def test_a_run_that_draws_ahead_is_resumed_bitwise(
    tmp_path: Path, plain: Eventful, stops: list[tuple[int, Any, bool]]
) -> None:
    for number, (at, action, prefetch) in enumerate([*stops, (0, None, not stops[0][2])]):
        run = Eventful(tmp_path, prefetch=prefetch, action=action, at=at)
        try:
            run.trainer.fit(resume=number > 0)
        except CrashError:
            assert input_threads() == []
    assert run.outcome() == plain.outcome()
    assert run.learned == plain.learned[len(plain.learned) - len(run.learned) :]


def unreadable_from(batch: Batch, number: int) -> Batch:
    raise DataError(f"batch {number} cannot be read.")


@pytest.mark.parametrize("prefetch", [False, True])
def test_what_goes_wrong_while_drawing_is_raised_by_the_step_it_belongs_to(tmp_path: Path, prefetch: bool) -> None:
    def trainer(*callbacks: Callback) -> Trainer:
        loader = FaultyLoader(tiny_loader(), unreadable_from, first=6)
        return tiny_trainer(tmp_path, train={"prefetch": prefetch}, loader=loader, callbacks=callbacks)

    stopped = trainer(AfterStep(5, interrupt)).fit()  # before the batch was needed
    assert (stopped.steps, stopped.stopped_by) == (5, "interrupt")
    for _ in range(2):
        heard = Heard()
        with pytest.raises(DataError, match="^batch 6 cannot be read.$"):
            trainer(heard).fit(resume=True)
        assert heard.steps == []
    assert input_threads() == []


def test_the_next_batch_is_drawn_while_a_step_computes(tmp_path: Path) -> None:
    is_drawn, names = [threading.Event() for _ in range(3)], list[str]()

    def note(batch: Batch, number: int) -> Batch:
        names.append(threading.current_thread().name)
        is_drawn[number - 1].set()
        return batch

    def loss(model: Any, batch: Any) -> TaskLosses:
        assert is_drawn[1].wait(30)  # before the first step has ended
        return joint_loss(model, batch, task_heads=HEADS)

    loader = FaultyLoader(tiny_loader(), note, first=1)
    tiny_trainer(tmp_path, steps=3, train={"prefetch": True}, loader=loader, loss_function=loss).fit()
    assert names[0] == threading.current_thread().name and len(names) == 3
    assert all(name.startswith(THREAD) for name in names[1:])


def drawn_by(loader: MixtureLoader, step: int) -> TrainableBatch:
    time.sleep(0.005)  # in which whoever does not wait for the thread is found out
    return loader.next_batch().with_noise(step)


def same(ours: Any, theirs: Any) -> bool:
    return torch.equal(ours.token_ids, theirs.token_ids) and torch.equal(ours.noise_seeds, theirs.noise_seeds)


def test_a_batch_drawn_ahead_is_thrown_away_when_another_is_wanted() -> None:
    here, there = tiny_loader(), tiny_loader()
    ahead = PrefetchedBatches(here, partial(drawn_by, here), num_steps=20, device=CPU)
    plain = StepBatches(there, partial(drawn_by, there))
    first = {**plain.place(), "step": 1}
    for step in (1, 2, 3, 1, 2, 7):  # the run goes back from step 3, and a step is counted otherwise
        assert ahead.place() == plain.place()
        assert same(plain.take(step), ahead.take(step))
    assert same(ahead.redraw(first), plain.redraw(first))  # while the batch of step 8 is drawn
    assert same(plain.take(8), ahead.take(8))
    ahead.call_off()
    assert here.state() == there.state()
    assert same(ahead.take(9), plain.take(9))
    ahead.close()


def test_batches_are_drawn_ahead_on_a_gpu_or_where_a_recipe_says_so_but_features_never() -> None:
    loader = tiny_loader()
    features = FeatureLoader(loader, features=None)  # type: ignore[arg-type]
    cuda = torch.device("cuda")
    chosen = [is_prefetched(choice, loader=loader, device=d) for choice in ("auto", True, False) for d in (CPU, cuda)]
    assert chosen == [False, True, True, True, False, False]
    assert not any(is_prefetched(choice, loader=features, device=cuda) for choice in ("auto", True))
