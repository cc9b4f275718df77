"""`banyan evaluate A --against B`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., Any]


def test_two_models_are_compared_on_every_task_they_share(banyan: Run, model: Path) -> None:
    words = ("--task", "classification", "--task", "tagging", "--task", "language_modeling", "--max-examples", 8)
    answer = banyan("evaluate", model, "--against", model, *words, "--json").answer
    assert list(answer["tasks"]) == ["classification", "tagging", "language_modeling"]
    for task in answer["tasks"].values():
        assert task["first"] == task["second"] and task["p_holm"] == 1.0 and task["interval"] == [0.0, 0.0]
    shown = banyan("evaluate", model, "--against", model, *words).out
    assert "no difference shown" in shown and "p (Holm)" in shown


def test_another_model_that_is_none_is_one_line(banyan: Run, model: Path) -> None:
    ran = banyan("evaluate", model, "--against", "nowhere")
    assert ran.code in (3, 4) and "nowhere" in ran.error
