"""`banyan train` of a picture tokenizer, as typed; and the recipe of a model that draws with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from banyan.testing.pictures import write_tiny_npz

Run = Callable[..., Any]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.yaml"
    content = {
        "kind": "image_tokenizer",
        "name": "bars",
        "data": {"train": str(write_tiny_npz(tmp_path / "bars.npz"))},
        "tokenizer": {"levels": [4, 4], "widths": [8, 8]},
        "train": {"steps": 2, "micro_batch_seqs": 4},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_trained_tokenizer_is_what_a_recipe_that_draws_names(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    summary = banyan("train", recipe, "--json").answer
    run = tmp_path / "runs" / "bars"
    assert (summary["run"], summary["steps"], summary["skipped_pictures"]) == (str(run), 2, {})
    assert summary["best_score"] > 0
    drawing = {
        "name": "drawing",
        "model": {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 16},
        "tokenizer": {"vocab_size": 260},
        "image_tokenizer": {"path": str(run / "best"), "copies": 1, "augment": {"crop_pixels": 1}},
        "train": {"steps": 2, "seq_len": 64, "micro_batch_seqs": 2},
        "tasks": [
            {
                "name": "draw",
                "kind": "image_generation",
                "template": "bar {label}",
                "data": {"train": str(tmp_path / "bars.npz")},
            }
        ],
    }
    (tmp_path / "drawing.yaml").write_text(yaml.safe_dump(drawing))
    assert banyan("train", tmp_path / "drawing.yaml").code == 0
    own = [folder / "image_tokenizer.safetensors" for folder in (run / "best", tmp_path / "runs/drawing/best")]
    assert own[0].read_bytes() == own[1].read_bytes()
    assert list((tmp_path / "runs/drawing/codes").glob("*.shard"))


def test_what_a_tokenizer_run_cannot_do_is_said_in_one_line(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    for words, problem in (
        (["--check"], "--check and --nproc are for recipes with tasks"),
        (["pictures.size=4"], "unknown key 'pictures.size'"),
        (["tokenizer.widths=[8, 8, 8, 8]"], "image_size=8 is not divided by the downsampling of 16"),
        ([f"data.train={tmp_path}/none"], "none is neither a file or folder"),
    ):
        ran = banyan("train", recipe, *words)
        assert ran.code in (2, 3) and ran.err.count("\n") <= 2 and problem in ran.err, ran.err
