"""Two models on the same examples."""

import json
from pathlib import Path
from typing import Any

import pytest

from banyan.core.errors import ConfigError
from banyan.runtime.loading import load
from banyan.testing.model_directories import save_tiny_model
from banyan.workflows.model_comparison import ModelComparison, compare_models
from banyan.workflows.reporter import SilentReporter


def compared(first: Path, second: Path, **options: Any) -> ModelComparison:
    given: dict[str, Any] = {"tasks": (), "data": (), "split": "test", "max_examples": 40}
    return compare_models(first, second, reporter=SilentReporter(), **(given | options))


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    return save_tiny_model(tmp_path / "a", seed=0), save_tiny_model(tmp_path / "b", seed=1)


@pytest.fixture
def rows(models: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return questions of which the first model answers every one as it is expected to."""
    texts = [f"text {number} of many" for number in range(40)]
    with load(models[0]) as model:
        lines = [{"text": text, "label": model.predict("topic", text)[0].text} for text in texts]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    return path


def test_the_difference_is_that_of_the_two_scores(models: tuple[Path, Path], rows: Path) -> None:
    [task] = compared(*models, data=(f"topic={rows}",)).tasks
    with load(models[1]) as model:
        expected = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
        right = [model.predict("topic", line["text"])[0].text == line["label"] for line in expected]
    assert (task.first, task.second, task.num_examples) == (1.0, sum(right) / 40, 40)
    assert task.comparison.improvement == pytest.approx(1 - sum(right) / 40)
    assert task.verdict == ("better" if sum(right) < 30 else "no difference shown")


def test_swapping_the_models_swaps_the_verdict(models: tuple[Path, Path], rows: Path) -> None:
    data = (f"topic={rows}",)
    [one], [other] = compared(*models, data=data).tasks, compared(*reversed(models), data=data).tasks
    assert one.comparison.improvement == -other.comparison.improvement
    assert one.corrected_p == other.corrected_p


def test_a_model_is_not_better_than_itself(models: tuple[Path, Path], rows: Path) -> None:
    [task] = compared(models[0], models[0], data=(f"topic={rows}",)).tasks
    assert (task.comparison.improvement, task.corrected_p, task.verdict) == (0.0, 1.0, "no difference shown")


def test_what_cannot_be_compared_is_told(models: tuple[Path, Path], rows: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean topic"):
        compared(*models, tasks=("topc",))
    with pytest.raises(ConfigError, match="pictures are not compared"):
        compared(*models, tasks=("draw",))
