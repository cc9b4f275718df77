"""`banyan plan`, as typed; the probe is a real process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from banyan.cli.plan import amount, span

Run = Callable[..., Any]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = tmp_path / "rows.jsonl"
    lines = [json.dumps({"text": f"{['red', '蓝色'][n % 2]} thing {n}", "label": "ab"[n % 2]}) for n in range(24)]
    rows.write_text("\n".join(lines), encoding="utf-8")
    content = {
        "name": "small",
        "model": {"num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "head_dim": 8, "ffn_dim": 16},
        "tokenizer": {"vocab_size": 260},
        "train": {"steps": 40, "seq_len": 32, "micro_batch_seqs": 2},
        "tasks": [{"name": "area", "kind": "classification", "data": {"train": rows.name, "validation_fraction": 0.2}}],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_plan_is_measured_and_leaves_nothing_behind(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    plan = banyan("plan", recipe, "train.steps=60", "--seconds", 0.5, "--json").answer
    assert plan["size"]["steps"] == 60 and plan["is_modelled"] is False and plan["fits"] is True
    assert plan["tokens_per_second"] > 0 and plan["seconds"] > plan["time"]["steps"] > 0
    assert plan["peak_bytes"] > 50_000_000 and plan["memory"]["base"] > 0
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_plan_for_another_device_says_that_it_is_modelled(banyan: Run, recipe: Path) -> None:
    ran = banyan("plan", recipe, "--devices", "h200x8")
    assert "h200 × 8, modelled" in ran.out and "assumed: 40% of the published 989 TFLOP/s" in ran.out


def test_an_unknown_device_is_refused_before_any_work(banyan: Run, recipe: Path, tmp_path: Path) -> None:
    ran = banyan("plan", recipe, "--devices", "h201")
    assert ran.code == 2 and "did you mean h200" in ran.error
    assert not (tmp_path / "runs").exists()


def test_a_recipe_that_cannot_run_ends_the_plan_with_its_own_exit_code(banyan: Run, recipe: Path) -> None:
    ran = banyan("plan", recipe, "tasks.area.data.train=missing.jsonl")
    assert ran.code == 3


@pytest.mark.parametrize(("num_bytes", "text"), [(3 * 2**20, "3.0 MiB"), (5 * 2**30, "5.00 GiB")])
def test_bytes_are_written_for_a_person(num_bytes: int, text: str) -> None:
    assert amount(num_bytes) == text


@pytest.mark.parametrize(("seconds", "text"), [(3.14, "3.1 s"), (120, "2.0 min"), (7200, "2.0 h")])
def test_times_are_written_for_a_person(seconds: float, text: str) -> None:
    assert span(seconds) == text
