"""Examples of a task in a report, good and bad, as a Markdown table in which no text can be markup."""

from __future__ import annotations

from typing import Any

from banyan.tasks.base import Task
from banyan.workflows.judged_answers import JudgedAnswer, best_and_worst, judge_answers
from banyan.workflows.scoring import TaskResult

_NUM_OF_EACH = 3  # good ones, and bad ones
_MAX_SHOWN_CHARACTERS = 160


def example_table(name: str, result: TaskResult) -> list[str]:
    """Return the lines of a table of the best and the worst answers; none where nothing was answered in words."""
    task, predictions = result.task, result.evaluation.predictions
    if not predictions or any(prediction.image is not None for prediction in predictions):
        return []
    judged = judge_answers(task, result.examples, predictions)
    rows = [_row(task, own) for own in best_and_worst(judged, num=_NUM_OF_EACH)]
    num_right = sum(own.is_right for own in judged)
    head = ["| | asked | answered | expected |", "|---|---|---|---|"]
    return [f"### {name}", "", f"{num_right} of {len(judged)} right.", "", *head, *rows, ""]


def _row(task: Task[Any], judged: JudgedAnswer) -> str:
    mark = "✓" if judged.is_right else "✗"
    shade = "" if judged.score in (0.0, 1.0) else f" {judged.score:.2f}"
    sure = f" ({judged.prediction.score:.0%})" if judged.prediction.score is not None else ""
    cells = (task.source(judged.example), judged.prediction.text, task.reference(judged.example))
    asked, answered, expected = map(_cell, cells)
    return f"| {mark}{shade} | {asked} | {answered}{sure} | {expected} |"


def _cell(text: str) -> str:
    """Return a text as one cell of a Markdown table: one line, nothing that ends the cell or is markup."""
    flat = " ".join(text.split())
    short = flat if len(flat) <= _MAX_SHOWN_CHARACTERS else flat[: _MAX_SHOWN_CHARACTERS - 1] + "…"
    return "`` " + short.replace("|", "¦").replace("`", "ˋ") + " ``" if short else "–"
