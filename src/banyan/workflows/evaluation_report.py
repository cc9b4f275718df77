"""`banyan evaluate --report`: scores and examples, good and bad, as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from banyan import __version__
from banyan.core.files import atomic_write_text
from banyan.workflows.conflict_report import conflict_section
from banyan.workflows.example_tables import example_table
from banyan.workflows.scoring import TaskResult


def write_evaluation_report(path: Path, results: Mapping[str, TaskResult], *, model: Path, split: str) -> None:
    """Write every score with its interval, how far a run's tasks were in each other's way, and examples of each task.

    Raises: SpaceError if the file cannot be written.
    """
    atomic_write_text(path, evaluation_as_markdown(results, model=model, split=split))


def evaluation_as_markdown(results: Mapping[str, TaskResult], *, model: Path, split: str) -> str:
    """Return what a person reads of an evaluation."""
    lines = [
        f"# {model}",
        "",
        f"Banyan {__version__}; {split} examples, or those of a file that was named.",
        "",
        "| task | metric | score | 95 % interval | examples | simple systems |",
        "|---|---|---|---|---|---|",
        *[row for name, result in results.items() for row in _score_rows(name, result)],
        *conflict_section(model.resolve().parent.parent),  # of a checkpoint's run; best and last are links
        "",
        *[line for name, result in results.items() for line in example_table(name, result)],
    ]
    return "\n".join(lines) + "\n"


def _score_rows(name: str, result: TaskResult) -> Iterator[str]:
    evaluation = result.evaluation
    for metric, value in sorted(evaluation.scores.items(), key=lambda item: item[0] != evaluation.main_metric):
        interval = evaluation.intervals.get(metric)
        low_high = f"{interval.low:.4f} – {interval.high:.4f}" if interval else ""
        shown = f"**{name}**" if metric == evaluation.main_metric else ""
        others = ((own.name, own.evaluation.scores.get(metric)) for own in result.baselines)
        simple = ", ".join(f"{system} {score:.4f}" for system, score in others if score is not None)
        yield f"| {shown} | {metric} | {value:.4f} | {low_high} | {evaluation.num_examples} | {simple} |"
