"""`banyan evaluate A --against B`: which of two models is better at what on the same examples, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError, DataError
from banyan.core.registry import did_you_mean
from banyan.runtime.description import read_description
from banyan.runtime.loading import load
from banyan.tasks.evaluate import TaskEvaluation
from banyan.tasks.intervals import Comparison, compare, holm
from banyan.workflows.evaluation import DataSources, task_files
from banyan.workflows.reporter import Reporter
from banyan.workflows.scoring import evaluate_one

SIGNIFICANT = 0.05
_NUM_SAMPLES = 5000  # so that a p-value can be 0.0004, and 0.005 after correction over a dozen tasks
_LEFT_OUT_KIND = "image_generation"  # its examples are codes, and each model has its own


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskComparison:
    """How two models did on one task; the difference is above zero where the first is better."""

    task: str
    metric: str
    num_examples: int
    first: float
    second: float
    comparison: Comparison
    corrected_p: float  # Holm's, over all tasks that were compared

    @property
    def verdict(self) -> str:
        """Say which model is significantly better, if one is."""
        return verdict_on(self.comparison, corrected_p=self.corrected_p)


def verdict_on(comparison: Comparison, *, corrected_p: float) -> str:
    """Say whether a difference is significant, and which way it points."""
    if corrected_p >= SIGNIFICANT:
        return "no difference shown"
    return "better" if comparison.improvement > 0 else "worse"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelComparison:
    """Two models, task by task."""

    first: Path
    second: Path
    split: str
    tasks: tuple[TaskComparison, ...]
    left_out: tuple[str, ...]  # tasks that were not compared, each with the reason


def compare_models(
    first: Path,
    second: Path,
    *,
    tasks: Sequence[str],
    data: Sequence[str],
    split: str,
    max_examples: int,
    base: Path | None = None,
    reporter: Reporter,
) -> ModelComparison:
    """Score both models on the examples of the first one's data and test every difference in pairs.

    Tasks belong together that have the same name and kind. `data`, `split` and `base` are as in `evaluate`.
    Raises: ConfigError if no task can be compared; as `evaluate` for models and data that cannot be used.
    """
    files = task_files(data, tasks=tasks)
    kinds = [_kinds(directory) for directory in (first, second)]
    chosen, left_out = _common_tasks(*kinds, names=tasks or tuple(files))
    if not chosen:
        raise ConfigError(f"{first} and {second} have no task that can be compared ({'; '.join(left_out) or 'none'}).")
    examples: dict[str, list[Any]] = {}
    found = []
    for number, directory in enumerate((first, second)):
        reporter.stage(f"score {directory}")
        with load(directory, base=base if number == 0 else None) as model:
            if not examples:
                sources = DataSources(model, files, split=split)
                chosen, unknown = _with_data(sources, chosen)
                left_out += unknown
                examples = {name: sources.examples(model.task(name), limit=max_examples) for name in chosen}
                _require(examples, split=split)
            evaluations = {}
            for place, name in enumerate(chosen):
                evaluations[name] = evaluate_one(model, model.task(name), examples[name], judge=None)
                reporter.progress(place + 1, len(chosen), note=name)
            found.append(evaluations)
    return ModelComparison(first=first, second=second, split=split, tasks=_tested(*found), left_out=tuple(left_out))


def _with_data(sources: DataSources, names: Sequence[str]) -> tuple[list[str], list[str]]:
    known = list(sources.known_among(names))
    return known, [f"{name}: its data is not known (--data {name}=file)" for name in names if name not in known]


def _kinds(directory: Path) -> dict[str, str]:
    description = read_description(directory)
    return {str(spec["name"]): str(spec["kind"]) for spec in description.tasks}


def _common_tasks(
    first: Mapping[str, str], second: Mapping[str, str], *, names: Sequence[str]
) -> tuple[list[str], list[str]]:
    chosen, left_out = [], []
    for name in names or first:
        if name not in first:
            raise ConfigError(f"the first model has no task {name!r}{did_you_mean(name, first)}")
        if name not in second:
            left_out.append(f"{name}: only the first model has it")
        elif first[name] != second[name]:
            left_out.append(f"{name}: {first[name]} in the first model, {second[name]} in the second")
        elif first[name] == _LEFT_OUT_KIND:
            left_out.append(f"{name}: pictures are not compared")
        else:
            chosen.append(name)
    return chosen, left_out


def _require(examples: Mapping[str, Sequence[Any]], *, split: str) -> None:
    if empty := next((name for name, items in examples.items() if not items), None):
        raise DataError(f"task {empty} has no {split} examples to compare on.", hint=f"--data {empty}=file")


def _tested(first: Mapping[str, TaskEvaluation], second: Mapping[str, TaskEvaluation]) -> tuple[TaskComparison, ...]:
    metrics = {name: _metric(evaluation) for name, evaluation in first.items()}
    compared = [
        compare(first[name].measurement, second[name].measurement, score=metric, num_samples=_NUM_SAMPLES)
        for name, metric in metrics.items()
    ]
    corrected = holm([comparison.p_value for comparison in compared])
    return tuple(
        TaskComparison(
            task=name,
            metric=metric,
            num_examples=first[name].num_examples,
            first=first[name].scores[metric],
            second=second[name].scores[metric],
            comparison=comparison,
            corrected_p=corrected_p,
        )
        for (name, metric), comparison, corrected_p in zip(metrics.items(), compared, corrected, strict=True)
    )


def _metric(evaluation: TaskEvaluation) -> str:
    """Return the score to compare by; models may cut text into tokens differently, so none that counts tokens."""
    is_per_token = evaluation.main_metric == "perplexity" and "bits_per_byte" in evaluation.scores
    return "bits_per_byte" if is_per_token else evaluation.main_metric
