"""A run is begun once, and goes on only with what it began with."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from banyan.core.config import config_from_mapping, read_config
from banyan.core.errors import BusyError, ConfigError, DataError
from banyan.core.locks import hold_directory
from banyan.runtime.description import read_description
from banyan.runtime.loading import load
from banyan.train.callbacks import Callback, EventRecord
from banyan.workflows.recipe import ModelRecipe, Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import TrainingOutcome, new_model, train

_MODEL = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}


def _recipe(rows: Path, *, vocab_size: int = 300) -> Recipe:
    return config_from_mapping(
        Recipe,
        {
            "name": "tiny",
            "model": _MODEL,
            "tokenizer": {"vocab_size": vocab_size},
            "train": {"steps": 2, "seq_len": 32, "micro_batch_seqs": 2},
            "tasks": [{"name": "text", "kind": "language_modeling", "data": {"train": str(rows)}}],
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


def test_a_seed_decides_the_first_weights(tiny_run: TrainingOutcome) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        recipe = dataclasses.replace(tiny_run.recipe, seed=seed)
        return new_model(recipe, tiny_run.material).state_dict()

    one, same, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_run_leaves_what_answers_and_how_it_was_made(tiny_run: TrainingOutcome) -> None:
    run = tiny_run.run_directory
    for name in ("recipe.yaml", "metrics.jsonl", "events.jsonl", "loss.png", "best", "last"):
        assert (run / name).exists(), name
    assert read_config(Recipe, run / "recipe.yaml") == read_config(Recipe, run / "best/recipe.yaml") == tiny_run.recipe
    with load(run / "best") as model:
        assert list(model.tasks) == [task.name for task in tiny_run.recipe.tasks]
        assert model.num_parameters == tiny_run.num_parameters


def test_minutes_become_steps_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("banyan.workflows.training.measure_step_seconds", lambda *_, **__: 6.0)
    recipe = dataclasses.replace(_recipe(_write(tmp_path / "rows.jsonl")), minutes=0.35)
    outcome = train(recipe, reporter=SilentReporter(), run_directory=tmp_path / "run")
    assert (outcome.result.steps, outcome.recipe.minutes) == (3, None)
    monkeypatch.setattr("banyan.workflows.training.measure_step_seconds", lambda *_, **__: 1.0)
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


class Events(Callback):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def on_event(self, record: EventRecord) -> None:
        self.events.append((record.kind, record.detail))
