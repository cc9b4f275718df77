"""A model's results beside those of simple systems that learned from the same examples.

Apart from `scoring`, because the simple systems need libraries that take a second to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from banyan.core.types import Prediction
from banyan.tasks.base import Task
from banyan.tasks.baselines.table import baselines_for, bits_baselines
from banyan.tasks.evaluate import evaluate_bits, evaluate_task
from banyan.tasks.image_generation import ImageGeneration, judge_pictures, show_picture
from banyan.tokenizers.images import ImageTokenizer
from banyan.workflows.judge import Judge
from banyan.workflows.reporter import Reporter
from banyan.workflows.scoring import BaselineResult, TaskResult


def add_baselines(
    results: Mapping[str, TaskResult],
    train: Mapping[str, Sequence[Any]],
    *,
    judges: Mapping[str, Judge | None],
    image_tokenizer: ImageTokenizer | None,
    reporter: Reporter,
    num_samples: int = 1000,
) -> dict[str, TaskResult]:
    """Return the results with the simple systems of each task, learned from its training examples."""
    complete: dict[str, TaskResult] = {}
    for number, (name, result) in enumerate(results.items()):
        look = _Look(judge=judges.get(name), image_tokenizer=image_tokenizer)
        baselines = _baselines(result, train[name], look=look, num_samples=num_samples)
        complete[name] = TaskResult(
            task=result.task, evaluation=result.evaluation, examples=result.examples, baselines=tuple(baselines)
        )
        reporter.progress(number + 1, len(results), note=name)
    return complete


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """How the pictures of a baseline are made visible and judged; other answers pass through."""

    judge: Judge | None
    image_tokenizer: ImageTokenizer | None

    def at(self, answer: Callable[[Sequence[Any]], Sequence[Prediction]], task: Task[Any]) -> Any:
        judge, tokenizer = self.judge, self.image_tokenizer
        if judge is None or tokenizer is None or not isinstance(task, ImageGeneration):
            return answer
        return lambda examples: judge_pictures([show_picture(p, tokenizer) for p in answer(examples)], judge)


def _baselines(result: TaskResult, train: Sequence[Any], *, look: _Look, num_samples: int) -> list[BaselineResult]:
    task = result.task
    if task.kind == "language_modeling":
        texts = [example.text for example in result.examples]
        scored = [
            (b.name, b.is_trivial, evaluate_bits(task.name, texts, b.bits, num_samples=num_samples))
            for b in bits_baselines([example.text for example in train])
        ]
    elif isinstance(task, ImageGeneration) and look.judge is None:
        return []
    else:
        scored = [
            (b.name, b.is_trivial, evaluate_task(task, result.examples, look.at(b.answer, task)))
            for b in baselines_for(task, train)
        ]
    return [
        BaselineResult(
            name=name,
            is_trivial=is_trivial,
            evaluation=evaluation,
            comparison=result.evaluation.compared_with(evaluation),
        )
        for name, is_trivial, evaluation in scored
    ]
