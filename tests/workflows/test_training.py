"""A run is begun once, and goes on only with what it began with."""

import json
from pathlib import Path

import pytest

from banyan.core.config import config_from_mapping
from banyan.core.errors import ConfigError, DataError
from banyan.workflows.recipe import Recipe
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.training import settle_recipe, train

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


def test_a_saved_recipe_runs_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = config_from_mapping(
        Recipe,
        {
            "name": "here",
            "tokenizer": {"path": "tokenizer.json"},
            "tasks": [{"name": "text", "kind": "language_modeling", "data": {"train": "rows.jsonl"}}],
        },
    )
    settled = settle_recipe(recipe, tmp_path / "run", resume=False)
    assert settled.tokenizer.path == str(tmp_path / "tokenizer.json")
    assert settled.tasks[0].data.train == str(tmp_path / "rows.jsonl")
