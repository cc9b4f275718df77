"""A run is begun once, and goes on only with what it began with."""

import dataclasses
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from banyan.core.config import config_from_mapping, read_config
from banyan.core.errors import BusyError, ConfigError, DataError
from banyan.core.locks import hold_directory
from banyan.runtime.description import read_description
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.train.callbacks import Callback, EvaluationRecord, EventRecord, StepRecord
from banyan.workflows.recipe import ModelRecipe, Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome, train

_MODEL = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}


def _recipe(rows: Path, *, vocab_size: int = 300, held_out: float = 0.0) -> Recipe:
    return config_from_mapping(
        Recipe,
        {
            "name": "tiny",
            "model": _MODEL,
            "tokenizer": {"vocab_size": vocab_size},
            "train": {"steps": 2, "seq_len": 32, "micro_batch_seqs": 2},
            "tasks": [
                {
                    "name": "text",
                    "kind": "language_modeling",
                    "data": {"train": str(rows), "validation_fraction": held_out},
                }
            ],
        },
    )


def _write(path: Path, *, first: int = 0) -> Path:
    path.write_text("".join(json.dumps({"text": f"def f{first + n}(): return {n}"}) + "\n" for n in range(20)))
    return path


def _contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in [run / "recipe.yaml", *sorted((run / "tokenizer").iterdir())]}


def test_a_run_that_has_saved_is_neither_replaced_nor_continued_with_other_rows(tmp_path: Path) -> None:
    rows, run = _write(tmp_path / "rows.jsonl"), tmp_path / "run"
    train(_recipe(rows), reporter=SilentReporter(), run_directory=run)
    before = _contents(run)
    with pytest.raises(ConfigError, match="already holds a run that came to step 2"):
        train(_recipe(rows, vocab_size=280), reporter=SilentReporter(), run_directory=run)
    assert _contents(run) == before
    _write(rows, first=100)  # as many rows as before
    with pytest.raises(DataError, match="not those the run began with"):
        train(_recipe(rows), reporter=SilentReporter(), run_directory=run, resume=True)
    assert _contents(run) == before


def test_a_run_leaves_what_answers_and_how_it_was_made(tiny_run: TrainingOutcome) -> None:
    run = tiny_run.run_directory
    for name in ("recipe.yaml", "metrics.jsonl", "events.jsonl", "loss.png", "best", "last"):
        assert (run / name).exists(), name
    assert read_config(Recipe, run / "recipe.yaml") == read_config(Recipe, run / "best/recipe.yaml") == tiny_run.recipe
    with load(run / "best") as model:
        assert list(model.tasks) == [task.name for task in tiny_run.recipe.tasks]
        assert model.num_parameters == tiny_run.num_parameters


def test_minutes_become_steps_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banyan.workflows.settling.measure_step_seconds", lambda *_, **__: 6.0)
    recipe = dataclasses.replace(_recipe(_write(tmp_path / "rows.jsonl")), minutes=0.35)
    outcome = train(recipe, reporter=SilentReporter(), run_directory=tmp_path / "run")
    assert (outcome.result.steps, outcome.recipe.minutes) == (3, None)
    monkeypatch.setattr("banyan.workflows.settling.measure_step_seconds", lambda *_, **__: 1.0)
    again = train(recipe, reporter=SilentReporter(), run_directory=tmp_path / "run", resume=True)
    assert again.recipe == outcome.recipe and again.result.steps == 3


def test_the_dial_chooses_once_says_so_and_a_resumed_run_keeps_its_choice(tmp_path: Path) -> None:
    class Heard(SilentReporter):
        lines: list[str] = []

        def line(self, text: str) -> None:
            self.lines.append(text)

    plain = _recipe(_write(tmp_path / "rows.jsonl"))
    asked = dataclasses.replace(
        plain, model=ModelRecipe(), train=dataclasses.replace(plain.train, budget="1s")
    )  # its two steps are its own
    outcome = train(asked, reporter=Heard(), run_directory=tmp_path / "run")
    assert outcome.result.steps == 2 and outcome.recipe.model.embed_dim is not None
    assert any(line.startswith("dial: ") for line in Heard.lines)
    saved = read_config(Recipe, tmp_path / "run/recipe.yaml")
    assert saved == outcome.recipe and saved.train.budget is None
    again = train(asked, reporter=SilentReporter(), run_directory=tmp_path / "run", resume=True)
    assert again.recipe == outcome.recipe


def test_resuming_what_never_began_begins_it(tmp_path: Path) -> None:
    recipe = _recipe(_write(tmp_path / "rows.jsonl"))
    outcome = train(recipe, reporter=SilentReporter(), run_directory=tmp_path / "run", resume=True)
    assert outcome.result.steps == 2


def test_a_device_that_does_not_exist_is_found_out_before_the_data_is_read(tmp_path: Path) -> None:
    recipe = dataclasses.replace(_recipe(tmp_path / "none.jsonl"), device="tpu9")
    with pytest.raises(ConfigError, match="is not a device"):
        train(recipe, reporter=SilentReporter(), run_directory=tmp_path / "run")


def test_a_run_that_another_trainer_holds_keeps_its_recipe_and_tokenizer(tmp_path: Path) -> None:
    recipe = _recipe(_write(tmp_path / "rows.jsonl"))
    for resume in (False, True):
        with hold_directory(tmp_path / "run"), pytest.raises(BusyError):
            train(recipe, reporter=SilentReporter(), run_directory=tmp_path / "run", resume=resume)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_the_newest_damaged_checkpoint_is_set_aside_and_the_run_goes_on(tmp_path: Path) -> None:
    rows, run = _write(tmp_path / "rows.jsonl"), tmp_path / "run"
    whole = train(_recipe(rows), reporter=SilentReporter(), run_directory=run)
    weights = whole.result.last_checkpoint / "model.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(before[:-8])
    again = train(_recipe(rows), reporter=SilentReporter(), run_directory=run, resume=True)
    assert again.result.steps == 2
    assert (again.result.last_checkpoint / "model.safetensors").read_bytes() == before
    assert list(run.glob("checkpoints/*.corrupt"))


def test_a_shard_that_was_cut_off_is_made_again_from_the_texts(tmp_path: Path) -> None:
    rows, run = _write(tmp_path / "rows.jsonl"), tmp_path / "run"
    whole = train(_recipe(rows), reporter=SilentReporter(), run_directory=run)
    (shard,) = run.glob("corpus/text/*.shard")
    before = shard.read_bytes()
    shard.write_bytes(before[:-5])
    again = train(_recipe(rows), reporter=SilentReporter(), run_directory=run, resume=True)
    assert again.result.steps == whole.result.steps and shard.read_bytes() == before


def test_accepted_data_is_learned_from_its_front_with_the_tokenizer_of_the_run(tmp_path: Path) -> None:
    rows, run = _write(tmp_path / "rows.jsonl"), tmp_path / "run"
    train(_recipe(rows), reporter=SilentReporter(), run_directory=run)
    tokenizer = (run / "tokenizer/tokenizer.json").read_bytes()
    before = read_description(run / "last").dataset_fingerprint
    _write(rows, first=100)
    recipe = dataclasses.replace(_recipe(rows), train=dataclasses.replace(_recipe(rows).train, steps=4))
    heard = Events()
    for accept in (True, False):  # once accepted, the run goes on with it unasked
        outcome = train(
            recipe,
            reporter=SilentReporter(),
            run_directory=run,
            resume=True,
            callbacks=[heard],
            accept_data_change=accept,
        )
        assert outcome.result.steps == 4
    assert (run / "tokenizer/tokenizer.json").read_bytes() == tokenizer
    now = read_description(run / "last").dataset_fingerprint
    assert [detail for kind, detail in heard.events if kind == "data_changed"] == [{"before": before, "now": now}]
    assert before != now


def test_ctrl_c_in_an_evaluation_stops_it_and_the_resumed_run_begins_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _recipe(_write(tmp_path / "rows.jsonl"), held_out=0.2)
    recipe = dataclasses.replace(plain, train=dataclasses.replace(plain.train, steps=4, evaluate_every=2))

    def long_evaluation(model: LoadedModel, *_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100_000):  # the model stops answering long before
            model.bits_per_byte(["def f(): return 1"])

    def run(name: str, *, resume: bool = False) -> tuple[TrainingOutcome, Course]:
        course = Course()
        outcome = train(
            recipe, reporter=SilentReporter(), run_directory=tmp_path / name, resume=resume, callbacks=[course]
        )
        return outcome, course

    golden, whole_course = run("golden")
    with monkeypatch.context() as patch:
        patch.setattr("banyan.workflows.live_model.evaluate_model", long_evaluation)
        stopped, first_part = run("run")
    assert (stopped.result.stopped_by, stopped.result.signal_number) == ("interrupt", signal.SIGINT)
    resumed, second_part = run("run", resume=True)
    assert first_part.told == [("step", 1), ("step", 2)]
    assert second_part.told == [("evaluation", 2), ("step", 3), ("step", 4), ("evaluation", 4)]
    assert whole_course.told == first_part.told + second_part.told
    assert resumed.result.best_score == golden.result.best_score
    for name in ("model.safetensors", "optimizer.safetensors"):
        of_resumed, of_golden = (one.result.last_checkpoint / name for one in (resumed, golden))
        assert of_resumed.read_bytes() == of_golden.read_bytes()


class Course(Callback):
    """Remembers in which order a run learned and was scored."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def on_step(self, record: StepRecord) -> None:
        self.told.append(("step", record.step))

    def on_evaluation(self, record: EvaluationRecord) -> None:
        self.told.append(("evaluation", record.step))


class Events(Callback):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def on_event(self, record: EventRecord) -> None:
        self.events.append((record.kind, record.detail))
