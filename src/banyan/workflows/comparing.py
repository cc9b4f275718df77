"""A model's results beside those of simple systems that learned from the same examples.

Apart from `scoring`, because the simple systems need libraries that take a second to import.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from banyan.core.errors import DataError, MissingExtraError
from banyan.core.types import Prediction
from banyan.tasks.base import Task
from banyan.tasks.baselines.table import Baseline, BitsBaseline, baselines_for, bits_baselines
from banyan.tasks.evaluate import TaskEvaluation, evaluate_bits, evaluate_task
from banyan.tasks.image_generation import ImageGeneration, judge_pictures, show_picture
from banyan.tokenizers.images import ImageTokenizer
from banyan.workflows.datasets import spread
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
    max_train: int | None = None,
    with_slow: bool = False,
) -> dict[str, TaskResult]:
    """Return the results with the simple systems of each task, learned from its training examples.

    Of more than `max_train` examples so many are learned from, taken evenly. A task without training examples stays
    without simple systems, and so does one whose kind has none; a system that needs a package that is missing, or that
    cannot learn from the examples, is left out with a line.
    """
    complete: dict[str, TaskResult] = {}
    for number, (name, result) in enumerate(results.items()):
        known = train.get(name, ())
        systems = _Systems(
            look=_Look(judge=judges.get(name), image_tokenizer=image_tokenizer),
            train=spread(known, max_train),
            num_available=len(known),
            num_samples=num_samples,
            with_slow=with_slow,
            reporter=reporter,
        )
        complete[name] = dataclasses.replace(result, baselines=tuple(systems.beside(result)))
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Systems:
    """The simple systems of one task, and what they learn from."""

    look: _Look
    train: Sequence[Any]
    num_available: int
    num_samples: int
    with_slow: bool
    reporter: Reporter

    def beside(self, result: TaskResult) -> Iterator[BaselineResult]:
        """Yield what each of them scores on the examples of a result."""
        for system in self._of(result.task):
            if system.is_slow and not self.with_slow:
                continue
            try:
                evaluation = self._score(system, result)
            except (MissingExtraError, DataError) as error:
                advice = f" ({error.hint})" if error.hint else ""
                self.reporter.line(f"{error.message} It is left out{advice}.")
                continue
            yield BaselineResult(
                name=system.name,
                is_trivial=system.is_trivial,
                evaluation=evaluation,
                comparison=result.evaluation.compared_with(evaluation, num_samples=self.num_samples),
                num_train=len(self.train),
                num_available=self.num_available,
            )

    def _of(self, task: Task[Any]) -> Sequence[Baseline | BitsBaseline]:
        if not self.train or (isinstance(task, ImageGeneration) and self.look.judge is None):
            return ()
        if task.kind == "language_modeling":
            return bits_baselines([example.text for example in self.train])
        return baselines_for(task, self.train)

    def _score(self, system: Baseline | BitsBaseline, result: TaskResult) -> TaskEvaluation:
        task = result.task
        if isinstance(system, BitsBaseline):
            texts = [example.text for example in result.examples]
            return evaluate_bits(task.name, texts, system.learn(), num_samples=self.num_samples)
        answer = self.look.at(system.learn(), task)
        return evaluate_task(task, result.examples, answer, num_samples=self.num_samples)
