"""Scoring anything that answers: a model, a baseline, a file of predictions. It takes functions, never a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from banyan.core.errors import DataError
from banyan.core.types import NO_TARGET, Prediction, TokenSequence
from banyan.tasks.base import Task
from banyan.tasks.intervals import Comparison, Interval, compare, confidence_intervals
from banyan.tasks.metrics.likelihood import BITS_PER_CODE, measure_bits, measure_code_bits, measure_perplexity
from banyan.tasks.metrics.measurement import Measurement, Scores
from banyan.tokenizers.vocabulary import Vocabulary

E = TypeVar("E")

AnswerFunction: TypeAlias = Callable[[Sequence[E]], Sequence[Prediction]]
BitsFunction: TypeAlias = Callable[[Sequence[str]], Sequence[float]]  # texts → bits each of them costs
LogLikelihoodFunction: TypeAlias = Callable[[Sequence[TokenSequence]], Sequence[Sequence[float]]]  # nats per target


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskEvaluation:
    """What one system scored on one task."""

    task: str
    main_metric: str
    scores: Scores
    intervals: dict[str, Interval]  # 95 %, by score
    num_examples: int
    measurement: Measurement  # the counts behind the scores, for paired comparisons
    predictions: tuple[Prediction, ...] = ()  # in the order of the examples; empty where nothing was predicted

    @property
    def score(self) -> float:
        """The main score."""
        return self.scores[self.main_metric]

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller main score is the better one."""
        return self.main_metric in self.measurement.lower_is_better

    def compared_with(self, other: TaskEvaluation, *, score: str | None = None, num_samples: int = 1000) -> Comparison:
        """Say by how much this system is better on the same examples; by the main score unless told."""
        return compare(self.measurement, other.measurement, score=score or self.main_metric, num_samples=num_samples)


def evaluate_task(
    task: Task[E], examples: Sequence[E], answer: AnswerFunction[E], *, num_samples: int = 1000, seed: int = 0
) -> TaskEvaluation:
    """Ask for all answers and score them: by the metric that the task was given, where answers can be measured by it.

    Raises: DataError if there are no examples, or not one answer for each.
    """
    _require_examples(task.name, examples)
    predictions = tuple(answer(examples))
    if len(predictions) != len(examples):
        raise DataError(f"task {task.name}: {len(predictions)} answers cannot be scored against {len(examples)}.")
    measurement = task.measure(examples, predictions)
    metric = task.chosen_metric if task.chosen_metric in measurement.scores() else task.main_metric
    return _evaluation(task.name, measurement, metric, predictions=predictions, num_samples=num_samples, seed=seed)


def evaluate_bits(
    task: str, texts: Sequence[str], bits: BitsFunction, *, num_samples: int = 1000, seed: int = 0
) -> TaskEvaluation:
    """Score how many bits each byte of the texts costs: language modelling, whoever the model is.

    Raises: DataError if there are no texts.
    """
    _require_examples(task, texts)
    measurement = measure_bits(bits(texts), [len(text.encode()) for text in texts])
    return _evaluation(task, measurement, "bits_per_byte", num_samples=num_samples, seed=seed)


def evaluate_likelihood(
    task: Task[E],
    examples: Sequence[E],
    log_likelihood: LogLikelihoodFunction,
    vocabulary: Vocabulary,
    *,
    max_tokens: int,
    num_samples: int = 1000,
    seed: int = 0,
) -> TaskEvaluation:
    """Score how well a model expects the right answers: perplexity per token, bits per byte of the answers.

    Raises: DataError if there are no examples.
    """
    _require_examples(task.name, examples)
    weighed = _weighed(task, examples, log_likelihood, vocabulary, max_tokens=max_tokens)
    measurement = measure_perplexity(
        [sum(log_probs) for _, log_probs in weighed],
        [len(targets) for targets, _ in weighed],
        [sum(map(vocabulary.num_bytes, targets)) for targets, _ in weighed],
    )
    return _evaluation(task.name, measurement, "perplexity", num_samples=num_samples, seed=seed)


def evaluate_code_bits(
    task: Task[E],
    examples: Sequence[E],
    log_likelihood: LogLikelihoodFunction,
    vocabulary: Vocabulary,
    *,
    max_tokens: int,
    num_samples: int = 1000,
    seed: int = 0,
) -> TaskEvaluation:
    """Score how many bits a code of each right picture costs when its wish is known; the end mark is left out.

    Raises: DataError if there are no examples.
    """
    _require_examples(task.name, examples)
    nats = [
        [log_prob for target, log_prob in zip(targets, log_probs, strict=True) if vocabulary.is_image(target)]
        for targets, log_probs in _weighed(task, examples, log_likelihood, vocabulary, max_tokens=max_tokens)
    ]
    measurement = measure_code_bits([math.fsum(row) for row in nats], [len(row) for row in nats])
    return _evaluation(task.name, measurement, BITS_PER_CODE, num_samples=num_samples, seed=seed)


def _weighed(
    task: Task[E],
    examples: Sequence[E],
    log_likelihood: LogLikelihoodFunction,
    vocabulary: Vocabulary,
    *,
    max_tokens: int,
) -> list[tuple[list[int], Sequence[float]]]:
    """Return the tokens of each right answer with their log-probabilities."""
    sequences = [task.render(example, vocabulary, max_tokens=max_tokens) for example in examples]
    targets = [[target for target in sequence.targets if target != NO_TARGET] for sequence in sequences]
    return list(zip(targets, log_likelihood(sequences), strict=True))


def merge_evaluations(first: TaskEvaluation, second: TaskEvaluation) -> TaskEvaluation:
    """Return the scores of both, on the same examples, under the first one's main score."""
    return TaskEvaluation(
        task=first.task,
        main_metric=first.main_metric,
        scores=first.scores | second.scores,
        intervals=first.intervals | second.intervals,
        num_examples=first.num_examples,
        measurement=first.measurement.beside(second.measurement),
        predictions=first.predictions or second.predictions,
    )


def _evaluation(
    task: str,
    measurement: Measurement,
    main_metric: str,
    *,
    predictions: tuple[Prediction, ...] = (),
    num_samples: int,
    seed: int,
) -> TaskEvaluation:
    return TaskEvaluation(
        task=task,
        main_metric=main_metric,
        scores=measurement.scores(),
        intervals=confidence_intervals(measurement, num_samples=num_samples, seed=seed),
        num_examples=len(measurement),
        measurement=measurement,
        predictions=predictions,
    )


def _require_examples(task: str, examples: Sequence[Any]) -> None:
    if not examples:
        raise DataError(f"task {task} has no examples to score.", hint="name its test data in the recipe")
