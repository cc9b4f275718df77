"""What a run wrote down about one of its checkpoints: the scores of its report, or those of its last evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from banyan.core.errors import BanyanError
from banyan.core.files import read_json
from banyan.train.run_files import EVENTS_FILE, read_json_lines
from banyan.train.state import STATE_FILE, read_state
from banyan.transfer.model_card import MeasuredScore
from banyan.workflows.report import REPORT_JSON


def measured_scores(model: Path) -> tuple[MeasuredScore, ...]:
    """Return the scores of a checkpoint that lies in its run; none for any other model.

    A report speaks of the run's best checkpoint alone; for another one its own evaluation is read.
    """
    directory = model.resolve()
    run = directory.parent.parent
    try:
        step = read_state(directory / STATE_FILE).progress.step
        report = read_json(run / REPORT_JSON) if (run / REPORT_JSON).is_file() else {}
        if report.get("best_step") == step:
            return tuple(_of_report(report))
        return tuple(_of_events(run, step))
    except (BanyanError, OSError, AttributeError, KeyError, TypeError, ValueError):
        return ()  # a run that was moved or edited says nothing that could be trusted


def _of_report(report: Mapping[str, Any]) -> Iterator[MeasuredScore]:
    for task, result in report["tasks"].items():
        source = f"{result['num_examples']} test examples"
        for metric, value in result["scores"].items():
            if "/" not in metric:  # parts of a score are left to the report
                yield MeasuredScore(task=task, metric=metric, value=float(value), source=source)


def _of_events(run: Path, step: int) -> Iterator[MeasuredScore]:
    evaluations = [e for e in read_json_lines(run / EVENTS_FILE) if (e["event"], e["step"]) == ("evaluated", step)]
    for name, value in (evaluations[-1]["metrics"] if evaluations else {}).items():
        task, _, metric = name.partition("/")
        if metric and "/" not in metric and isinstance(value, int | float):
            yield MeasuredScore(task=task, metric=metric, value=float(value), source="validation examples")
