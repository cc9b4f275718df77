"""Good and bad examples of every task, in a report of a run and of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from banyan.core.types import Prediction
from banyan.tasks.classification import Classification, ClassificationExample
from banyan.tasks.evaluate import evaluate_task
from banyan.workflows.evaluation_report import write_evaluation_report
from banyan.workflows.example_tables import example_table
from banyan.workflows.scoring import TaskResult

TASK = Classification(name="topic", labels=("tree", "树"))


@pytest.fixture(scope="module")
def results() -> Mapping[str, TaskResult]:
    """Ten texts, of which every other is answered wrong, ever surer."""
    examples = [ClassificationExample(text=f"text {n} | 第{n}句", label="tree") for n in range(10)]
    sure = np.linspace(0.5, 0.95, 10)
    predictions = [
        Prediction(task="topic", text=label, score=p, labels={label: p})
        for label, p in zip(TASK.labels * 5, sure.tolist(), strict=True)
    ]
    evaluation = evaluate_task(TASK, examples, lambda _: predictions, num_samples=5)
    return {"topic": TaskResult(task=TASK, evaluation=evaluation, examples=tuple(examples))}


def test_the_surest_right_and_the_surest_wrong_answers_are_shown(results: Mapping[str, TaskResult]) -> None:
    lines = example_table("topic", results["topic"])
    rows = [line for line in lines if line.startswith(("| ✓", "| ✗"))]
    assert [row.split()[1] for row in rows] == ["✓"] * 3 + ["✗"] * 3
    assert "text 8 ¦ 第8句" in rows[0] and "(90%)" in rows[0] and "text 9 ¦ 第9句" in rows[3]
    assert "5 of 10 right." in lines


def test_the_report_of_an_evaluation_has_scores_and_examples(results: Mapping[str, TaskResult], tmp_path: Path) -> None:
    write_evaluation_report(tmp_path / "new" / "report.md", results, model=Path("runs/demo/best"), split="test")
    text = (tmp_path / "new" / "report.md").read_text("utf-8")
    assert text.startswith("# runs/demo/best\n") and "| **topic** | accuracy | 0.5000 | " in text
    assert text.count("| ✓") == text.count("| ✗") == 3 and "第8句" in text


def test_the_report_of_a_runs_checkpoint_says_how_its_tasks_conflicted(
    results: Mapping[str, TaskResult], tmp_path: Path
) -> None:
    (tmp_path / "checkpoints/step-00000200").mkdir(parents=True)
    (tmp_path / "best").symlink_to("checkpoints/step-00000200")
    (tmp_path / "metrics.jsonl").write_text('{"step": 200, "task_cosines": {"topic / prose": -0.25}}\n')
    write_evaluation_report(tmp_path / "page.md", results, model=tmp_path / "best", split="test")
    assert "| topic | – | -0.25 |" in (tmp_path / "page.md").read_text("utf-8")
