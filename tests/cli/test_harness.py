"""`banyan evaluate --harness` on tasks whose data are local."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from banyan.testing.known_sentences import save_known_sentences

Run = Callable[..., Any]

ROWS = [
    {"question": "def add(a, b): return a +", "choices": [" b", " x", " tree"], "answer": 0},
    {"question": "Every tree has a", "choices": [" house.", " name.", " b"], "answer": 1},
    {"question": "独木成林，", "choices": ["一棵树。", "很好。", "说话。"], "answer": 0},
]
GUIDE = (Path(__file__).parents[2] / "docs/guides/evaluation.md").read_text("utf-8")
[TASK] = re.findall(r"^`my_task.yaml`\n\n```yaml\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_known_sentences(tmp_path_factory.mktemp("known") / "model")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    folder = tmp_path / "tasks"  # its rows are named as seen from where the command runs
    folder.mkdir()
    (folder / "my_task.yaml").write_text(TASK.replace("{data_files:", f"{{cache_dir: {tmp_path}/cache, data_files:"))
    return folder / "my_task.yaml"


def test_a_model_that_knows_the_sentences_chooses_rightly(banyan: Run, known: Path, task: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    ran = banyan("evaluate", known, "--harness", task, "--output", "out", "--json")
    score, _ = ran.answer["scores"]
    assert ran.err == "" and (score["task"], score["metric"], score["value"]) == ("my_task", "acc,none", 1.0)
    assert score["num_examples"] == 3 and score["standard_error"] == 0
    said = json.loads((tmp_path / "out" / "harness.json").read_text("utf-8"))
    assert len(said["samples"]["my_task"]) == 3
    shown = banyan("evaluate", known, "--harness", task.parent, "--max-examples", 1)
    assert "my_task" in shown.out and "lm-evaluation-harness" in shown.out


def test_what_the_harness_cannot_use_is_one_line(banyan: Run, known: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    (tmp_path / "broken.yaml").write_text("task: broken\noutput_type: none_such\n")
    ran = banyan("evaluate", known, "--harness", tmp_path / "broken.yaml")
    assert ran.code == 2 and "lm-evaluation-harness cannot use the task" in ran.error
    (tmp_path / "empty").mkdir()
    assert "folder without tasks" in banyan("evaluate", known, "--harness", tmp_path / "empty").error
    assert banyan("evaluate", known, "--harness").code == 2


def test_without_the_package_its_extra_is_named(banyan: Run, known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    ran = banyan("evaluate", known, "--harness", "task.yaml")
    assert ran.code == 2 and "needs the package lm_eval" in ran.error and "banyan-gpt[lm-eval]" in ran.err
