"""`banyan evaluate --harness` on tasks whose data are local."""

import json
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
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/rows.jsonl}}, cache_dir: {folder}/cache}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{{metric: acc}}]
metadata: {{version: 2.0}}
"""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_known_sentences(tmp_path_factory.mktemp("known") / "model")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (tmp_path / "rows.jsonl").write_text(lines, encoding="utf-8")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "choose.yaml").write_text(TASK.format(name="choose", folder=tmp_path))
    return folder / "choose.yaml"


def test_a_model_that_knows_the_sentences_chooses_rightly(banyan: Run, known: Path, task: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    ran = banyan("evaluate", known, "--harness", task, "--output", "out", "--json")
    [score] = ran.answer["scores"]
    assert ran.err == "" and (score["task"], score["metric"], score["value"]) == ("choose", "acc,none", 1.0)
    assert (score["num_examples"], score["task_version"]) == (3, "2.0")
    said = json.loads((tmp_path / "out" / "harness.json").read_text("utf-8"))
    assert len(said["samples"]["choose"]) == 3
    shown = banyan("evaluate", known, "--harness", task.parent, "--max-examples", 1)
    assert "choose" in shown.out and "lm-evaluation-harness" in shown.out


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
