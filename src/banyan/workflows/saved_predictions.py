"""`banyan evaluate --save-predictions`: every prediction with its example, so that anybody can score it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from banyan.core.files import atomic_write_text
from banyan.store.export import prediction_to_json
from banyan.tasks.metrics.measurement import FloatArray
from banyan.workflows.scoring import TaskResult


def write_predictions(path: Path, results: Mapping[str, TaskResult]) -> None:
    """Write one JSON object a line: question, right answers, prediction, its own scores, and what it adds to the sums.

    Raises: SpaceError if the file cannot be written.
    """
    lines = [line for result in results.values() for line in _lines(result)]
    atomic_write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _lines(result: TaskResult) -> Iterator[dict[str, Any]]:
    task, evaluation = result.task, result.evaluation
    if not evaluation.predictions:  # a text is scored, not answered
        return
    rows = zip(result.examples, evaluation.predictions, evaluation.measurement.statistics, strict=True)
    for number, (example, prediction, counts) in enumerate(rows):
        yield {
            "task": task.name,
            "example": number,
            "source": task.source(example),
            "reference": task.reference(example),
            "references": list(task.references(example)),
            "prediction": prediction.text,
            **prediction_to_json(prediction),
            "scores": task.measure([example], [prediction]).scores(),
            "counts": _without_zeros(counts),
        }


def _without_zeros(counts: FloatArray) -> dict[str, float]:
    """Return counts by their column; a task with many labels has many columns, and an example touches few."""
    return {str(column): float(counts[column]) for column in counts.nonzero()[0]}
