import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from banyan.core.config import write_config

Run = Callable[..., Any]


def test_a_judge_is_trained_by_its_recipe(banyan: Run, judge_keys: dict[str, Any], tmp_path: Path) -> None:
    write_config(tmp_path / "judge.yaml", judge_keys)
    said = banyan("train", "judge.yaml", "training.epochs=0.1").out
    assert "wrong more often than right" in said and f"--judge {tmp_path}/runs/judge" in said
    told = banyan("train", "judge.yaml", "training.epochs=1", "--json").answer
    assert len(told["sha256"]) == 64 and told["labels"] == ["0", "1", "2"]
    assert told["num_held_out"] > 20 and told["num_pictures"] + told["num_held_out"] == 210
    assert banyan("train", "judge.yaml", "wdith=8").code == 2


def test_drawn_pictures_are_measured_and_kept(banyan: Run, model: Path, judge_file: Path, tmp_path: Path) -> None:
    words = (
        "--judge",
        judge_file,
        "--num",
        12,
        "--guidance",
        2.5,
        "--output",
        "out",
        "--database",
        f"sqlite:///{tmp_path}/scores.db",
    )
    ran = banyan("evaluate", model, "--images", *words)
    assert "FID (in the judge's features)" in ran.out and "floor" in ran.out and "12 pictures, seed 0" in ran.out
    assert "not measured: own picture among the 5 nearest, unseen wishes, for every wish of a held-out" in ran.out
    with closing(sqlite3.connect(tmp_path / "scores.db")) as connection:
        rows = connection.execute("SELECT metric, num_examples, config FROM evaluations").fetchall()
    assert {metric for metric, *_ in rows} == {
        "fid", "fid_floor", "fid_reconstructed", "fid_unigram", "fid_share", "precision", "recall", "psnr", "code_use",
        "kept_accuracy", "fidelity", "judge_accuracy", "accuracy_score", "accuracy_score_real", "retrieval_seen",
        "bits_per_code", "bits_per_code_unigram",
    }  # fmt: skip
    assert all(num == 12 and "judge_sha256" in config for _, num, config in rows)
    kept = json.loads((tmp_path / "out/picture-scores.json").read_text())
    assert len(kept["images"]["judge_sha256"]) == 64 and set(kept["wishes"]) == {"seen"}
    assert kept["images"]["sampling"]["guidance_scale"] == 2.5
    sheets = {f"seen-{kind}.png" for kind in ("drawn", "real", "nearest")}
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == sheets


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [(["--images"], 2, "--images needs --judge"), (["--images", "--judge", "nowhere"], 3, "there is no judge")],
)
def test_without_a_judge_nothing_is_drawn(banyan: Run, model: Path, words: list[str], code: int, problem: str) -> None:
    ran = banyan("evaluate", model, *words)
    assert ran.code == code and problem in ran.error
