"""Exports as a user asks for them: whole or not at all, and honest about what stays behind."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from banyan.core.errors import BanyanError, CheckpointError, ConfigError, FileError, SpaceError, UnknownNameError
from banyan.core.model_directory import WEIGHTS_FILE, new_model_directory, write_manifest
from banyan.model.checkpoint import save_model
from banyan.model.presets import model_config
from banyan.runtime.description import describe_model, write_description
from banyan.runtime.loading import load
from banyan.testing.adapters import save_random_adapter
from banyan.testing.model_directories import save_tiny_model
from banyan.testing.models import tiny_model
from banyan.testing.tasks import TASKS
from banyan.testing.vocabulary import tiny_vocabulary
from banyan.train.run_files import EVENTS_FILE
from banyan.train.state import STATE_FILE
from banyan.transfer.export_formats import EXPORT_FORMATS
from banyan.workflows.exporting import ExportReport, export_model
from banyan.workflows.reporter import SilentReporter


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of every kind of task, pictures included."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tree")


def export(model: Path, directory: Path, *, format: str = "hf", **options: Any) -> ExportReport:
    return export_model(model, directory, format=format, reporter=SilentReporter(), **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint that was evaluated."""
    run = tmp_path_factory.mktemp("runs") / "oak"
    checkpoint = save_tiny_model(run / "checkpoints" / "step-00000003")
    state = {"version": 1, "step": 3, "loader": {}, "settings": {}}
    (checkpoint / STATE_FILE).write_text(json.dumps(state))
    write_manifest(checkpoint)
    event = {"event": "evaluated", "step": 3, "metrics": {"lm/bits_per_byte": 2.5}}
    (run / EVENTS_FILE).write_text(json.dumps(event) + "\n")
    (run / "best").symlink_to(checkpoint.relative_to(run))
    return run


def test_rounded_weights_are_said_to_be(model: Path, tmp_path: Path) -> None:
    assert (
        export(model, tmp_path / "whole").remarks == export(model, tmp_path / "same", weight_type="f32").remarks == ()
    )
    rounded = export(model, tmp_path / "half", weight_type="f16")
    assert rounded.remarks == ("weights were rounded from float32 to f16; scores are those of the unrounded ones",)
    assert rounded.remarks[0] in (rounded.directory / "README.md").read_text("utf-8")


class Interrupted(SilentReporter):
    """Ctrl-C in the middle of the weights."""

    def progress(self, done: float, total: float, *, note: str = "") -> None:
        raise KeyboardInterrupt


def test_words_travel_and_pictures_stay_behind(model: Path, tmp_path: Path) -> None:
    report = export(model, tmp_path / "out")
    assert {path.name for path in report.directory.iterdir()} == set(report.files)
    assert not any("image" in name or name in ("extras.safetensors", "banyan.json") for name in report.files)
    with safe_open(report.directory / WEIGHTS_FILE, framework="pt") as file:
        assert file.get_slice("model.embed_tokens.weight").get_shape()[0] == tiny_vocabulary().text_size
    heads, pictures, masks = report.left_behind
    assert heads == "answers read from a head of their own: topic, tags, qa"
    assert pictures == "pictures, their codes and their tokenizer: draw"
    assert masks == "prompts that are read in both directions: words, mt, sum"


def test_the_card_says_what_the_report_says(model: Path, tmp_path: Path) -> None:
    report = export(model, tmp_path / "out", licence="apache-2.0")
    card = (report.directory / "README.md").read_text("utf-8")
    assert all(f"- {line}\n" in card for line in report.left_behind)
    assert f"{report.num_parameters:,}" in card and "# tree\n" in card
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "apache-2.0"
    assert "| chat | dialogue | yes | not measured |" in card


def test_the_card_of_a_run_carries_its_scores(run: Path, tmp_path: Path) -> None:
    report = export(run / "best", tmp_path / "out")
    card = (report.directory / "README.md").read_text("utf-8")
    assert "# oak\n" in card and "| lm | language_modeling | yes | bits_per_byte 2.5 (validation examples) |" in card


def test_an_adapter_is_merged_into_what_goes_out(model: Path, tmp_path: Path) -> None:
    adapter = save_random_adapter(tmp_path / "moods", model, tasks=list(TASKS.values()), seed=1)
    report = export(model, tmp_path / "out", adapter=adapter)
    with load(adapter, base=model) as ours:
        token_ids = torch.tensor([ours.continuation("The tree")[0].token_ids])
        expected = ours.model.logits(ours.model(token_ids, adapters_B=[ours.adapter]))
    found = AutoModelForCausalLM.from_pretrained(report.directory)(token_ids).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0.0)
    assert "# tree-moods\n" in (report.directory / "README.md").read_text("utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moods", "out"]


def test_an_adapter_alone_is_refused_with_the_way_out(model: Path, tmp_path: Path) -> None:
    adapter = save_random_adapter(tmp_path / "moods", model, tasks=list(TASKS.values()))
    with pytest.raises(ConfigError, match="is an adapter") as caught:
        export(adapter, tmp_path / "out")
    assert caught.value.hint is not None and f"--merge {adapter}" in caught.value.hint


def test_only_an_adapter_can_be_merged(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"--merge {model} is no adapter"):
        export(model, tmp_path / "out", adapter=model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch], ids=["a folder", "a file"])
def test_nothing_is_ever_overwritten(model: Path, tmp_path: Path, make: Any) -> None:
    make(tmp_path / "out")
    with pytest.raises(ConfigError, match="out exists; an export begins a new folder"):
        export(model, tmp_path / "out")


def test_a_run_is_told_from_its_model(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a run, not a model") as caught:
        export(run, tmp_path / "out")
    assert caught.value.hint == f"its best model is {run / 'best'}"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"format": "gguff"}, UnknownNameError, "no export format 'gguff'; did you mean gguf?"),
        ({"weight_type": "q8_0"}, ConfigError, "--type=q8_0 is not known to --format hf; use one of f32, f16, bf16."),
        ({"weight_type": "int4"}, ConfigError, "--type=int4 is not known to --format hf"),
    ],
)
def test_a_wrong_option_is_refused(
    model: Path, tmp_path: Path, options: dict[str, Any], error: type[BanyanError], message: str
) -> None:
    with pytest.raises(error) as caught:
        export(model, tmp_path / "out", **options)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_model_no_other_tool_computes_is_refused(tmp_path: Path, format: str) -> None:
    with new_model_directory(tmp_path / "model") as directory:
        save_model(tiny_model(model_config("sprint-nano", {"vocab_size": 320})), directory)
        tiny_vocabulary().save(directory)
        write_description(directory, describe_model([]))
    with pytest.raises(ConfigError, match="lookback=3") as caught:
        export(tmp_path / "model", tmp_path / "out", format=format)
    assert caught.value.hint is not None and "banyan-*" in caught.value.hint


def test_a_damaged_model_leaves_nothing(model: Path, tmp_path: Path) -> None:
    damaged = save_tiny_model(tmp_path / "damaged")
    weights = damaged / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="truncated"):
        export(damaged, tmp_path / "out")
    with pytest.raises(FileError):
        export(tmp_path / "nowhere", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_an_interrupted_export_leaves_nothing(model: Path, tmp_path: Path, format: str) -> None:
    if format == "gguf":
        pytest.importorskip("gguf", reason="the package gguf is not installed")
    with pytest.raises(KeyboardInterrupt):
        export_model(model, tmp_path / "out", format=format, reporter=Interrupted())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_a_full_disk_leaves_nothing(model: Path, tmp_path: Path, format: str) -> None:
    if format == "gguf":
        pytest.importorskip("gguf", reason="the package gguf is not installed")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    try:
        with pytest.raises(SpaceError, match="cannot write"):
            export(model, tmp_path / "out", format=format, weight_type="f32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
