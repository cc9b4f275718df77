import json
import math
import os
import signal
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from banyan.core.errors import BusyError, CheckpointError, ConfigError, DataError, DivergedError
from banyan.core.files import read_json
from banyan.core.locks import hold_directory
from banyan.core.model_directory import write_manifest
from banyan.data.batch import Batch
from banyan.data.loader import MixtureLoader
from banyan.model.checkpoint import load_model
from banyan.testing.training import HEADS, TASKS, tiny_loader, tiny_trainer
from banyan.train.average import AverageConfig
from banyan.train.balance_config import BalanceConfig
from banyan.train.callbacks import Callback, EvaluationRecord, EventRecord, FitResult, StepRecord
from banyan.train.compilation import compiler_problem
from banyan.train.config import TrainConfig
from banyan.train.evaluations import EvaluationStopped
from banyan.train.interrupt import InterruptWatch
from banyan.train.losses import TaskLosses, joint_loss
from banyan.train.optimizer import OptimizerConfig
from banyan.train.run_files import read_json_lines
from banyan.train.stepper import step_seed
from banyan.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("light_runs")


class At(Callback):
    """Does something once, after a step."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            self.action()


class Heard(Callback):
    """Remembers what it heard."""

    def __init__(self) -> None:
        self.steps: list[StepRecord] = []
        self.events: list[EventRecord] = []
        self.evaluations: list[EvaluationRecord] = []

    def on_step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def on_event(self, record: EventRecord) -> None:
        self.events.append(record)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        self.evaluations.append(record)


class HashedLoader:
    """A loader that remembers a hash of every batch it gave."""

    def __init__(self, seen: list[str]) -> None:
        self._loader: MixtureLoader = tiny_loader()
        self._seen = seen

    def next_batch(self, *, num_rows: int | None = None, seq_len: int | None = None) -> Batch:
        batch = self._loader.next_batch(num_rows=num_rows, seq_len=seq_len)
        tensors = (batch.token_ids, batch.targets, batch.segment_ids, batch.attend_until)
        self._seen.append(sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest())
        return batch

    def state(self) -> dict[str, Any]:
        return self._loader.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self._loader.restore(state)


class CrashError(Exception):
    """Stands for anything that ends a process without warning."""


def crash() -> None:
    raise CrashError


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def scores_by_step(model: Any, step: int) -> dict[str, Any]:
    assert not model.training
    return {"score": -abs(step - 9.0), "accuracy": {"labels": 0.5}}


def contents(checkpoint: Path) -> dict[str, Any]:
    """Everything in a checkpoint that must not depend on interruptions."""
    state = read_json(checkpoint / "state.json")
    for key in ("seconds", "evaluated_step", "evaluations_without_gain"):  # an evaluation may come after its save
        state.pop(key)
    tensors = {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}
    return {"state": state, **tensors}


def metrics(run: Path) -> list[tuple[int, float, dict[str, float], float]]:
    lines = read_json_lines(run / "metrics.jsonl")
    return [(line["step"], line["loss"], line["task_losses"], line["grad_norm"]) for line in lines]


TRAIN = {"checkpoint_every": 5, "evaluate_every": 3, "keep_checkpoints": 3}


@pytest.mark.parametrize(
    "stops",
    [
        [(7, crash)],
        [(5, crash), (9, crash)],
        [(6, interrupt)],
        [(3, interrupt), (4, interrupt), (17, crash)],
        [(20, interrupt)],
    ],
    ids=["crash", "two crashes", "ctrl-c where an evaluation is due", "ctrl-c twice and a crash", "ctrl-c at the end"],
)
def test_a_resumed_run_is_bitwise_equal_to_one_that_was_never_stopped(tmp_path: Path, stops: list[Any]) -> None:
    golden_batches: list[str] = []
    golden = tiny_trainer(
        tmp_path / "golden", steps=20, train=TRAIN, evaluator=scores_by_step, loader=HashedLoader(golden_batches)
    )
    expected = golden.fit()
    last_batches: list[str] = []
    for number, (step, action) in enumerate([*stops, (0, None)]):
        torch.manual_seed(number)  # whatever the process's random numbers are
        last_batches.clear()
        trainer = tiny_trainer(
            tmp_path / "run",
            steps=20,
            train=TRAIN,
            evaluator=scores_by_step,
            callbacks=[At(step, action)],
            loader=HashedLoader(last_batches),
        )
        try:
            result = trainer.fit(resume=number > 0)
        except CrashError:
            continue
    assert (
        (result.steps, result.stopped_by, result.best_step)
        == (20, "completed", expected.best_step)
        == (20, "completed", 9)
    )
    assert contents(result.last_checkpoint) == contents(expected.last_checkpoint)
    assert contents(result.best_checkpoint) == contents(expected.best_checkpoint)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "golden")
    assert last_batches == golden_batches[len(golden_batches) - len(last_batches) :]


@pytest.mark.parametrize(
    "stops", [[6, 6], [15], [20]], ids=["twice the same", "one where the run saves, too", "the last one"]
)
def test_an_evaluation_that_ctrl_c_stopped_comes_first_when_the_run_goes_on_bitwise_equal(
    tmp_path: Path, stops: list[int]
) -> None:
    def fit(name: str, *, stop_at: int = 0, resume: bool = False) -> tuple[FitResult, Heard]:
        watch, heard = InterruptWatch(), Heard()

        def evaluator(model: Any, step: int) -> dict[str, Any]:
            if step == stop_at:
                interrupt()
            if watch.is_requested:  # an evaluator looks between two batches
                raise EvaluationStopped
            return scores_by_step(model, step)

        trainer = tiny_trainer(tmp_path / name, steps=20, train=TRAIN, evaluator=evaluator, callbacks=[heard])
        return trainer.fit(resume=resume, interrupt=watch), heard

    golden, _ = fit("golden")
    for number, step in enumerate(stops):
        stopped, heard = fit("run", stop_at=step, resume=number > 0)
        assert (stopped.steps, stopped.stopped_by, stopped.signal_number) == (step, "interrupt", signal.SIGINT)
        assert "evaluation_stopped" in [event.kind for event in heard.events]
        assert step not in [record.step for record in heard.evaluations]
    result, heard = fit("run", resume=True)
    assert heard.evaluations[0].step == stops[-1]
    assert contents(result.last_checkpoint) == contents(golden.last_checkpoint)
    assert contents(result.best_checkpoint) == contents(golden.best_checkpoint)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "golden")


RICH = {
    **TRAIN,
    "batch_ramp": (0.5, 1),
    "seq_len_ramp": (8, 16),
    "average": AverageConfig(decay=0.9, start_fraction=0.2),
}


@pytest.mark.parametrize("background_saves", [True, False])
def test_a_run_with_ramps_average_and_every_option_of_the_optimizer_is_resumed_bitwise(
    tmp_path: Path, background_saves: bool
) -> None:
    optimizer = OptimizerConfig(
        cautious_weight_decay=True, decay_falls_with_rate=True, momentum_warmup_steps=8, normalise_rows=True
    )

    def trainer(name: str, *callbacks: Callback) -> Trainer:
        return tiny_trainer(
            tmp_path / name,
            steps=20,
            train={**RICH, "background_saves": background_saves},
            optimizer=optimizer,
            evaluator=scores_by_step,
            callbacks=callbacks,
        )

    golden = trainer("golden").fit()
    for number, (step, action) in enumerate([(7, crash), (8, interrupt), (16, crash), (0, None)]):
        try:
            result = trainer("run", At(step, action)).fit(resume=number > 0)
        except CrashError:
            continue
    assert contents(result.last_checkpoint) == contents(golden.last_checkpoint)
    assert contents(result.best_checkpoint) == contents(golden.best_checkpoint)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "golden")


BALANCES = (
    BalanceConfig(method="uncertainty"),
    BalanceConfig(method="famo"),
    BalanceConfig(method="db_mtl", groups=(("labels", "spans"),)),
)


@pytest.mark.parametrize("balance", BALANCES, ids=[balance.method for balance in BALANCES])
def test_a_run_that_learns_how_its_tasks_are_weighed_is_resumed_bitwise(tmp_path: Path, balance: BalanceConfig) -> None:
    def trainer(run: str, *callbacks: Callback) -> Trainer:
        train = {"checkpoint_every": 5, "balance": balance}
        return tiny_trainer(tmp_path / run, steps=12, train=train, callbacks=callbacks)

    golden = trainer("golden").fit()
    with pytest.raises(CrashError):
        trainer("run", At(7, crash)).fit()
    result = trainer("run").fit(resume=True)
    assert contents(result.last_checkpoint) == contents(golden.last_checkpoint)
    assert contents(golden.last_checkpoint)["state"]["balance"]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_run_that_moves_weights_in_the_backward_pass_is_resumed_bitwise(tmp_path: Path, name: Any) -> None:
    def trainer(run: str, *callbacks: Callback) -> Trainer:
        lean = {"update_in_backward": True, "low_memory": True, "accumulation_steps": 1, "clip_norm": 0.5}
        return tiny_trainer(
            tmp_path / run,
            steps=20,
            train={**TRAIN, **lean},
            optimizer=OptimizerConfig(name=name),
            evaluator=scores_by_step,
            callbacks=callbacks,
        )

    golden = trainer("golden").fit()
    with pytest.raises(CrashError):
        trainer("run", At(7, crash)).fit()
    result = trainer("run").fit(resume=True)
    assert contents(result.last_checkpoint) == contents(golden.last_checkpoint)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "golden")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_run_is_resumed_bitwise(tmp_path: Path) -> None:
    if problem := compiler_problem():
        pytest.skip(f"nothing can be compiled here: {problem}")

    def trainer(run: str, *callbacks: Callback) -> Trainer:
        torch._dynamo.reset()  # as in a process of its own: what was compiled comes from the cache, or is made anew
        train = {"compile": True, "checkpoint_every": 2, "accumulation_steps": 1}
        return tiny_trainer(tmp_path / run, steps=5, train=train, callbacks=callbacks)

    golden = trainer("golden").fit()
    with pytest.raises(CrashError):
        trainer("run", At(3, crash)).fit()
    result = trainer("run").fit(resume=True)
    assert contents(result.last_checkpoint) == contents(golden.last_checkpoint)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "golden")


def test_what_is_scored_and_saved_as_the_model_is_the_average(tmp_path: Path) -> None:
    scored: dict[str, torch.Tensor] = {}

    def evaluator(model: Any, step: int) -> dict[str, Any]:
        scored.update({name: param.detach().clone() for name, param in model.named_parameters()})
        return {"score": step}

    trainer = tiny_trainer(
        tmp_path, train={"average": AverageConfig(decay=0.9)}, evaluator=evaluator, optimizer=OptimizerConfig()
    )
    result = trainer.fit()
    saved = dict(load_model(result.best_checkpoint).named_parameters())
    assert saved.keys() == scored.keys()
    assert all(torch.equal(saved[name], scored[name]) for name in saved)
    learning = dict(trainer.model.named_parameters())
    assert not any(torch.equal(saved[name], learning[name]) for name in saved)


def test_a_run_that_saved_an_average_goes_on_with_one(tmp_path: Path) -> None:
    averaging = {"average": AverageConfig(decay=0.9)}
    for name, first, second in (("a", averaging, {}), ("b", {}, averaging)):
        tiny_trainer(tmp_path / name, train=first, callbacks=[At(3, interrupt)]).fit()
        with pytest.raises(CheckpointError, match="train.average"):
            tiny_trainer(tmp_path / name, train=second).fit(resume=True)


def test_the_compared_runs_go_through_several_epochs(tmp_path: Path) -> None:
    loader = tiny_loader()
    tiny_trainer(tmp_path, steps=20, loader=loader).fit()
    assert min(loader.epochs().values()) > 1


def test_dropout_differs_from_step_to_step_but_not_from_run_to_run(tmp_path: Path) -> None:
    losses = []
    for name, dropout in (("a", 0.1), ("b", 0.1), ("c", 0.0)):
        heard = Heard()
        tiny_trainer(tmp_path / name, steps=6, dropout=dropout, callbacks=[heard]).fit()
        losses.append([record.loss for record in heard.steps])
    assert losses[0] == losses[1] != losses[2]
    assert len({step_seed(seed, step) for seed in range(10) for step in range(10)}) == 100


def test_training_leaves_the_processs_random_numbers_alone(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, steps=2)
    before = torch.get_rng_state()
    trainer.fit()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_learns_and_leaves_everything_a_person_looks_for(tmp_path: Path) -> None:
    heard = Heard()
    sidecars = {"banyan.json": b"{}", "tokenizer.json": b"[]"}
    result = tiny_trainer(tmp_path, steps=60, dropout=0.0, callbacks=[heard], sidecars=sidecars).fit()
    first, last = (heard.steps[place].task_losses for place in (0, -1))
    assert set(first) <= set(TASKS)
    assert last["words"] < 0.8 * first["words"]
    for name in (
        "metrics.jsonl",
        "events.jsonl",
        "tensorboard",
        "best/model.safetensors",
        "last/banyan.json",
    ):
        assert (tmp_path / name).exists(), name
    assert (result.last_checkpoint / "tokenizer.json").read_bytes() == b"[]"
    manifest = read_json(result.last_checkpoint / "manifest.json")["files"]
    assert {"model.safetensors", "optimizer.safetensors", "state.json", "banyan.json", "tokenizer.json"} <= set(
        manifest
    )


def test_the_best_checkpoint_is_the_one_with_the_highest_score_and_outlives_the_others(tmp_path: Path) -> None:
    heard = Heard()
    trainer = tiny_trainer(
        tmp_path, steps=24, train={**TRAIN, "keep_checkpoints": 1}, evaluator=scores_by_step, callbacks=[heard]
    )
    result = trainer.fit()
    assert [record.step for record in heard.evaluations] == [3, 6, 9, 12, 15, 18, 21, 24]
    assert [record.is_best for record in heard.evaluations] == [True] * 3 + [False] * 5
    assert (result.best_step, result.best_score) == (9, 0.0)
    assert os.readlink(tmp_path / "best") == "checkpoints/step-00000009"
    assert os.readlink(tmp_path / "last") == "checkpoints/step-00000024"
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert load_model(tmp_path / "best").head_specs == tuple(head for head in HEADS if head is not None)


def test_the_last_step_is_always_evaluated(tmp_path: Path) -> None:
    heard = Heard()
    tiny_trainer(tmp_path, steps=5, train={"evaluate_every": 4}, evaluator=scores_by_step, callbacks=[heard]).fit()
    assert [record.step for record in heard.evaluations] == [4, 5]


def test_a_score_that_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    result = tiny_trainer(
        tmp_path, steps=4, train={"evaluate_every": 2}, evaluator=lambda m, s: {"score": math.nan}
    ).fit()
    assert (result.best_step, result.best_score) == (4, None)


def test_a_run_stops_early_when_it_no_longer_gets_better(tmp_path: Path) -> None:
    train = {"evaluate_every": 2, "early_stop_patience": 2}
    result = tiny_trainer(tmp_path, steps=40, train=train, evaluator=lambda m, s: {"score": -s}).fit()
    assert (result.stopped_by, result.steps, result.best_step) == ("early_stop", 6, 2)
    again = tiny_trainer(tmp_path, steps=40, train=train, evaluator=lambda m, s: {"score": -s}).fit(resume=True)
    assert (again.stopped_by, again.steps) == ("early_stop", 6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    result = tiny_trainer(tmp_path, callbacks=[At(4, lambda: os.kill(os.getpid(), number))]).fit()
    assert (result.steps, result.stopped_by, result.signal_number) == (4, "interrupt", number)
    assert result.last_checkpoint == tmp_path / "checkpoints" / "step-00000004"


def test_a_signal_before_the_first_step_is_no_harm(tmp_path: Path) -> None:
    class Early(Callback):
        def on_event(self, record: EventRecord) -> None:
            if record.kind == "started":
                interrupt()

    assert tiny_trainer(tmp_path, callbacks=[Early()]).fit().steps == 0
    assert tiny_trainer(tmp_path).fit(resume=True).steps == 12


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = tiny_trainer(tmp_path).fit()
    heard = Heard()
    second = tiny_trainer(tmp_path, callbacks=[heard]).fit(resume=True)
    assert not heard.steps
    assert (second.steps, second.stopped_by, second.seconds) == (12, "completed", first.seconds)


def test_a_run_is_not_started_over_another_one(tmp_path: Path) -> None:
    tiny_trainer(tmp_path).fit()
    with pytest.raises(ConfigError, match="already holds a run that came to step 12") as caught:
        tiny_trainer(tmp_path).fit()
    assert "--resume" in str(caught.value.hint)


def test_resuming_a_run_that_never_saved_starts_it(tmp_path: Path) -> None:
    assert tiny_trainer(tmp_path).fit(resume=True).steps == 12


def test_a_second_trainer_of_the_same_run_is_turned_away(tmp_path: Path) -> None:
    with hold_directory(tmp_path), pytest.raises(BusyError, match="locked by pid"):
        tiny_trainer(tmp_path).fit()


def test_a_damaged_checkpoint_is_set_aside_with_an_event_and_the_result_is_the_same(tmp_path: Path) -> None:
    expected = tiny_trainer(tmp_path / "golden").fit()
    train = {"checkpoint_every": 4}
    with pytest.raises(CrashError):
        tiny_trainer(tmp_path / "run", train=train, callbacks=[At(10, crash)]).fit()
    weights = tmp_path / "run" / "checkpoints" / "step-00000008" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    heard = Heard()
    result = tiny_trainer(tmp_path / "run", train=train, callbacks=[heard]).fit(resume=True)
    assert [event.kind for event in heard.events] == ["resumed", "checkpoint_quarantined", "settings_changed"][:2]
    assert heard.steps[0].step == 5
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (result.last_checkpoint / name).read_bytes() == (expected.last_checkpoint / name).read_bytes()


def test_changed_settings_are_reported(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, callbacks=[At(3, interrupt)]).fit()
    heard = Heard()
    tiny_trainer(tmp_path, train={"clip_norm": 0.5}, callbacks=[heard]).fit(resume=True)
    assert [e.detail for e in heard.events if e.kind == "settings_changed"] == [
        {"changed": {"train.clip_norm": [1.0, 0.5]}}
    ]


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, callbacks=[At(3, interrupt)]).fit()
    with pytest.raises(CheckpointError, match="another shape"):
        tiny_trainer(tmp_path, dropout=0.2).fit(resume=True)


def test_other_data_cannot_be_resumed_on(tmp_path: Path) -> None:
    tiny_trainer(tmp_path, callbacks=[At(3, interrupt)]).fit()
    with pytest.raises(DataError, match="other data"):
        tiny_trainer(tmp_path, loader=tiny_loader(size=41)).fit(resume=True)


def poison(bad_steps: set[int], counter: list[int]) -> Any:
    def loss(model: Any, batch: Any) -> TaskLosses:
        losses = joint_loss(model, batch, task_heads=HEADS)
        counter[0] += 1
        step = (counter[0] + 1) // 2  # two micro-batches a step
        if step in bad_steps:
            return TaskLosses(loss_sums=losses.loss_sums * math.nan, weight_sums=losses.weight_sums)
        return losses

    return loss


def test_a_step_that_is_not_finite_is_skipped_and_reported(tmp_path: Path) -> None:
    heard = Heard()
    result = tiny_trainer(tmp_path, loss_function=poison({3}, [0]), callbacks=[heard]).fit()
    assert result.steps == 12
    assert [record.is_applied for record in heard.steps] == [True, True, False] + [True] * 9
    (event,) = (event for event in heard.events if event.kind == "step_skipped")
    assert event.step == 3
    assert event.detail["data"]["places"]["words"]["num_rows"] > 0
    json.dumps(event.detail)


def test_a_run_that_keeps_failing_ends_with_its_last_good_checkpoint_kept(tmp_path: Path) -> None:
    loss = poison(set(range(8, 40)), [0])
    with pytest.raises(DivergedError, match="10 of the last 100 updates could not be made") as caught:
        tiny_trainer(tmp_path, steps=60, train={"checkpoint_every": 5}, loss_function=loss).fit()
    assert caught.value.exit_code == 7
    assert all(tensor.isfinite().all() for tensor in load_model(tmp_path / "last").state_dict().values())


@pytest.mark.parametrize("bad", [{"steps": 0}, {"seq_len": 0}, {"clip_norm": 0.0}, {"early_stop_patience": 0}])
def test_sizes_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"train.{next(iter(bad))}"):
        TrainConfig(**bad)


def test_a_run_evaluates_and_saves_ten_times_unless_told_otherwise() -> None:
    assert TrainConfig(steps=500).evaluation_interval == TrainConfig(steps=500).checkpoint_interval == 50
    assert TrainConfig(steps=3).evaluation_interval == 1
    assert TrainConfig(evaluate_every=7).evaluation_interval == 7


def test_a_long_run_saves_more_often_so_that_it_need_not_go_back_far() -> None:
    assert TrainConfig(steps=50_000).checkpoint_interval == 1000
    assert TrainConfig(steps=50_000, checkpoint_every=5000).checkpoint_interval == 5000
    regular = [step for step in range(26) if TrainConfig(steps=25, checkpoint_every=10).is_regular(step)]
    assert regular == [10, 20, 25]


def test_the_end_is_told_once_and_callbacks_are_always_closed(tmp_path: Path) -> None:
    calls: list[str] = []

    class Ends(Callback):
        def on_end(self, result: FitResult) -> None:
            calls.append("end")

        def close(self) -> None:
            calls.append("close")

    tiny_trainer(tmp_path / "a", steps=2, callbacks=[Ends()]).fit()
    with pytest.raises(CrashError):
        tiny_trainer(tmp_path / "b", steps=2, callbacks=[Ends(), At(1, crash)]).fit()
    assert calls == ["end", "close", "close"]


def test_a_state_whose_place_in_the_data_makes_no_sense_is_refused_in_one_line(tmp_path: Path) -> None:
    result = tiny_trainer(tmp_path, callbacks=[At(3, interrupt)]).fit()
    state = read_json(result.last_checkpoint / "state.json")
    del state["loader"]["places"]["words"]["row"]
    (result.last_checkpoint / "state.json").write_text(json.dumps(state))
    write_manifest(result.last_checkpoint)
    with pytest.raises(CheckpointError, match="cannot be taken up"):
        tiny_trainer(tmp_path).fit(resume=True)
