"""report.md and report.json of a run: scores beside baselines, examples, pictures, time, memory, size."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from banyan import __version__
from banyan.core.files import atomic_write_bytes, atomic_write_json, atomic_write_text
from banyan.core.types import Image
from banyan.tasks.intervals import Interval
from banyan.tokenizers.pictures import contact_sheet, image_to_png
from banyan.workflows.conflict_report import conflict_section
from banyan.workflows.example_tables import example_table
from banyan.workflows.scoring import BaselineResult, TaskResult
from banyan.workflows.training import TrainingOutcome

REPORT_FILE = "report.md"
REPORT_JSON = "report.json"
_SHEET_PICTURES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything a report says; `write_report` writes it down."""

    training: TrainingOutcome
    results: Mapping[str, TaskResult]
    stage_seconds: Mapping[str, float]
    peak_memory_bytes: int
    notes: tuple[str, ...] = ()  # lines about the data
    made_at: datetime

    @property
    def total_seconds(self) -> float:
        """Time of all stages together."""
        return sum(self.stage_seconds.values())

    @property
    def num_above_trivial(self) -> int:
        """Tasks that beat their trivial baseline by more than the 95 % interval."""
        return sum(result.beats_trivial is True for result in self.results.values())


def make_report(
    training: TrainingOutcome,
    results: Mapping[str, TaskResult],
    *,
    stage_seconds: Mapping[str, float],
    notes: tuple[str, ...] = (),
) -> Report:
    """Return the report of a training run and its scores, as of now."""
    return Report(
        training=training,
        results=results,
        stage_seconds=dict(stage_seconds),
        peak_memory_bytes=peak_memory_bytes(),
        notes=notes,
        made_at=datetime.now(UTC),
    )


def peak_memory_bytes() -> int:
    """Return the most memory this process has held at once."""
    import resource  # only Unix has it; on Windows Banyan runs inside WSL

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write_report(report: Report) -> Path:
    """Write report.md, report.json and the sample sheet into the run directory; return the path of report.md."""
    run = report.training.run_directory
    sheets = {name: _write_sheet(run, name, result) for name, result in report.results.items() if _pictures(result)}
    atomic_write_text(run / REPORT_FILE, report_as_markdown(report, sheets=sheets))
    atomic_write_json(run / REPORT_JSON, report_as_json(report))  # last: its presence says that the rest is there
    return run / REPORT_FILE


def report_as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain values."""
    return {
        "made_at": report.made_at.isoformat(timespec="seconds"),
        "banyan": __version__,
        "machine": machine_facts(),
        "parameters": report.training.num_parameters,
        "steps": report.training.result.steps,
        "best_step": report.training.result.best_step,
        "stage_seconds": {name: round(seconds, 1) for name, seconds in report.stage_seconds.items()},
        "total_seconds": round(report.total_seconds, 1),
        "peak_memory_bytes": report.peak_memory_bytes,
        "tasks_above_trivial": report.num_above_trivial,
        "tasks": {name: _task_as_json(result) for name, result in report.results.items()},
    }


def machine_facts() -> dict[str, Any]:
    """Return what decides the speed: cores, memory, system."""
    return {
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _task_as_json(result: TaskResult) -> dict[str, Any]:
    evaluation = result.evaluation
    return {
        "main_metric": evaluation.main_metric,
        "num_examples": evaluation.num_examples,
        "scores": evaluation.scores,
        "intervals": {name: [interval.low, interval.high] for name, interval in evaluation.intervals.items()},
        "signatures": dict(evaluation.measurement.signatures),
        "beats_trivial": result.beats_trivial,
        "baselines": [_baseline_as_json(baseline) for baseline in result.baselines],
    }


def _baseline_as_json(baseline: BaselineResult) -> dict[str, Any]:
    return {
        "name": baseline.name,
        "is_trivial": baseline.is_trivial,
        "scores": baseline.evaluation.scores,
        "improvement": baseline.comparison.improvement,
        "interval": [baseline.comparison.interval.low, baseline.comparison.interval.high],
    }


def report_as_markdown(report: Report, *, sheets: Mapping[str, str]) -> str:
    """Return the report as a person reads it."""
    training = report.training
    machine = machine_facts()
    lines = [
        f"# {training.recipe.name}",
        "",
        f"{report.made_at:%Y-%m-%d %H:%M} UTC · Banyan {__version__} · {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}",
        "",
        f"One model of {training.num_parameters:,} parameters, {training.result.steps} steps "
        f"(best: {training.result.best_step}). Peak memory {report.peak_memory_bytes / 2**30:.2f} GiB.",
        *(["", *report.notes] if report.notes else []),
        "",
        "## Scores on unseen data",
        "",
        *_score_table(report.results),
        "",
        "In brackets the 95 % interval (bootstrap over examples). “Above” compares with the trivial baseline on the",
        "same examples, paired; yes means by more than the 95 % interval.",
        "",
        "## Every score",
        "",
        *[line for name, result in report.results.items() for line in _all_scores(name, result)],
        "",
        "## Loss",
        "",
        "![loss of each task](loss.png)",
        *conflict_section(training.run_directory),
        *[line for name, file in sheets.items() for line in ("", f"## Pictures: {name}", "", f"![{name}]({file})")],
        "",
        "## Time",
        "",
        "| stage | seconds |",
        "|---|---|",
        *[f"| {name} | {seconds:.0f} |" for name, seconds in report.stage_seconds.items()],
        f"| all | {report.total_seconds:.0f} |",
        "",
        "## Examples",
        "",
        "The best of the right answers and the worst of the others, each with its own score where that is neither 0",
        "nor 1; in brackets how sure the model was.",
        "",
        *[line for name, result in report.results.items() for line in example_table(name, result)],
    ]
    return "\n".join(lines) + "\n"


def _score_table(results: Mapping[str, TaskResult]) -> list[str]:
    lines = ["| task | metric | model | trivial baseline | above? | strong baselines |", "|---|---|---|---|---|---|"]
    for name, result in results.items():
        evaluation = result.evaluation
        metric = evaluation.main_metric
        interval = evaluation.intervals.get(metric)
        trivial = [b for b in result.baselines if b.is_trivial]
        strong = [b for b in result.baselines if not b.is_trivial]
        above = {True: "yes", False: "no", None: "–"}[result.beats_trivial]
        lines.append(
            f"| {name} | {metric}{' ↓' if evaluation.lower_is_better else ''} "
            f"| **{evaluation.score:.3f}** {_brackets(interval)} "
            f"| {_named_scores(trivial, metric)} | {above} | {_named_scores(strong, metric)} |"
        )
    return lines


def _named_scores(baselines: list[BaselineResult], metric: str) -> str:
    return ", ".join(f"{b.name} {b.evaluation.scores[metric]:.3f}" for b in baselines) or "–"


def _brackets(interval: Interval | None) -> str:
    return f"[{interval.low:.3f}, {interval.high:.3f}]" if interval else ""


def _all_scores(name: str, result: TaskResult) -> list[str]:
    scores = ", ".join(f"{metric} {value:.3f}" for metric, value in result.evaluation.scores.items())
    lines = [f"- **{name}** ({result.evaluation.num_examples} examples): {scores}"]
    lines += [f"  - `{signature}` ({metric})" for metric, signature in result.evaluation.measurement.signatures.items()]
    return lines


def _pictures(result: TaskResult) -> list[Image]:
    return [prediction.image for prediction in result.evaluation.predictions if prediction.image is not None]


def _write_sheet(run: Path, name: str, result: TaskResult) -> str:
    file = f"samples/{name}.png"
    sheet = contact_sheet(_pictures(result)[:_SHEET_PICTURES], columns=10, scale=6)
    atomic_write_bytes(run / file, image_to_png(sheet))
    return file
