"""`banyan evaluate RECIPE --joint-vs-single`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Run = Callable[..., Any]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Two tiny tasks."""
    rows = [{"text": f"{n} {'ab'[n % 2] * 3}", "label": "xy"[n % 2]} for n in range(16)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {split: "rows.jsonl" for split in ("train", "validation", "test")}
    sizes = {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 32}
    mapping = {
        "name": "two",
        "model": sizes,
        "tokenizer": {"vocab_size": 300},
        "train": {"steps": 2, "seq_len": 32, "micro_batch_seqs": 2},
        "evaluation": {"num_validations": 1},
        "tasks": [{"name": name, "kind": "classification", "data": data} for name in ("colours", "sizes")],
    }
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(mapping))
    return path


def test_gains_are_told_and_written_and_the_next_call_goes_on(
    banyan: Run, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("banyan.workflows.joint_vs_single.SEARCHED_RATES", (1.0,))
    words = ("evaluate", recipe, "--joint-vs-single", "--set", "train.log_every=1", "--seeds", 1)
    waiting = banyan(*words, "--time-limit", 0, "--task", "sizes", "--json").answer
    assert waiting["missing"] == ["sizes"] and waiting["runs"] == {"done": 0, "planned": 2}
    found = banyan(*words, "--json").answer
    assert found["missing"] == [] and found["runs"] == {"done": 3, "planned": 3}
    assert found["worst"] in found["tasks"] and set(found["tasks"]) == {"colours", "sizes"}
    shown = banyan(*words).out
    assert "Mean gain" in shown and "3 of 3 runs done" in shown
    written = tmp_path / "runs/two-joint-vs-single"
    assert "| colours | accuracy | 16 |" in (written / "report.md").read_text("utf-8")
    assert (written / "gains.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--helps", "all"], 2, "--helps=all is not known"),
        (["--task", "colour"], 2, "did you mean colours"),
        (["--set", "train.stepz=3"], 2, "did you mean steps"),
        (["--calibrate"], 2, "No such option: --calibrate"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    banyan: Run, recipe: Path, words: list[str], code: int, problem: str
) -> None:
    ran = banyan("evaluate", recipe, "--joint-vs-single", *words)
    assert ran.code == code and problem in ran.error
