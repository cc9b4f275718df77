"""Where a model is wrong and most sure of it, and the training examples that lie nearest to each mistake."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from banyan.core.errors import ConfigError, DataError, FileError
from banyan.core.types import Completion, Prediction
from banyan.runtime.defaults import own_seeds
from banyan.runtime.loaded_model import LoadedModel
from banyan.runtime.loading import load
from banyan.tasks.base import Task
from banyan.tasks.language_modeling import LanguageModeling
from banyan.workflows.datasets import SPLITS
from banyan.workflows.evaluation import DataSources
from banyan.workflows.judged_answers import JudgedAnswer, judge_answers
from banyan.workflows.nearest_texts import nearest_texts
from banyan.workflows.reporter import Reporter


@dataclass(frozen=True, kw_only=True, slots=True)
class MistakesQuestion:
    """Whose mistakes are wanted, and how many."""

    task: str
    num: int
    data: str | None = None  # a file; None: the data of the model's own recipe
    split: str = "test"
    max_examples: int = 500
    num_neighbours: int = 3
    max_train: int = 2000  # training examples to look among, taken evenly

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ConfigError(f"--split={self.split} is not known; use one of {', '.join(SPLITS)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbour:
    """A training example near a mistake."""

    similarity: float  # cosine, around the mean of the training examples
    source: str
    reference: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A wrong answer."""

    source: str
    answer: str
    reference: str
    confidence: float | None  # probability of the answer; of several tags or tokens the geometric mean
    score: float  # of this example alone, 0 to 1
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundMistakes:
    """The surest mistakes of a model in one task."""

    model: str
    task: str
    scored_on: str  # split or file
    num_examples: int
    num_wrong: int
    num_train: int  # training examples looked among
    mistakes: tuple[Mistake, ...]
    note: str | None = None  # why there are no neighbours


def find_mistakes(
    directory: Path, asked: MistakesQuestion, *, base: Path | None = None, reporter: Reporter
) -> FoundMistakes:
    """Let a model answer a task's examples and return its surest mistakes with the training examples nearest to them.

    Where the training data is not known, or not here any more, mistakes come without neighbours and a note says why.
    Raises: ConfigError for a task that answers nothing in words; FileError, DataError if there is nothing to answer.
    """
    reporter.stage("load")
    with load(directory, base=base) as model:
        task = model.task(asked.task)
        if isinstance(task, LanguageModeling) or task.has_pictures:
            raise ConfigError(f"task {task.name} is of kind {task.kind}; mistakes are shown where words are answered.")
        files = {} if asked.data is None else {task.name: asked.data}
        examples = DataSources(model, files, split=asked.split).examples(task, limit=asked.max_examples)
        if not examples:
            raise DataError(f"task {task.name} has no {asked.split} examples.", hint="name a file: --data FILE")
        reporter.stage("answer")
        judged = _judged(model, task, examples)
        wrong = sorted((own for own in judged if not own[0].is_right), key=lambda own: -(own[1] or 0.0))
        shown = wrong[: asked.num]
        train, note = _training_examples(model, task, asked)
        reporter.stage("compare")
        near = _neighbours(model, task, [own.example for own, _ in shown], train, asked=asked, reporter=reporter)
    return FoundMistakes(
        model=str(directory),
        task=task.name,
        scored_on=asked.data or asked.split,
        num_examples=len(examples),
        num_wrong=len(wrong),
        num_train=len(train),
        mistakes=tuple(_mistake(task, own, sure, nearest) for (own, sure), nearest in zip(shown, near, strict=True)),
        note=note,
    )


def _judged(model: LoadedModel, task: Task[Any], examples: Sequence[Any]) -> list[tuple[JudgedAnswer, float | None]]:
    """Return every answer, judged, and how sure the model was of it."""
    prompts = [model.prompt(task.name, example) for example in examples]
    completions = model.engine.complete(prompts, own_seeds(prompts, model.sampling_for(task.name)))
    predictions = [model.read(prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
    sure = [confidence(prediction, own) for prediction, own in zip(predictions, completions, strict=True)]
    return list(zip(judge_answers(task, examples, predictions), sure, strict=True))


def confidence(prediction: Prediction, completion: Completion) -> float | None:
    """Return the probability of an answer; of several tags or tokens the geometric mean, None where there are none."""
    if prediction.score is not None:
        return prediction.score
    log_probs = completion.token_log_probs or [math.log(max(p, 1e-30)) for p in completion.tag_probs]
    return math.exp(math.fsum(log_probs) / len(log_probs)) if log_probs else None


def _mistake(task: Task[Any], judged: JudgedAnswer, sure: float | None, near: Sequence[Neighbour]) -> Mistake:
    return Mistake(
        source=task.source(judged.example),
        answer=judged.prediction.text,
        reference=task.reference(judged.example),
        confidence=sure,
        score=judged.score,
        neighbours=tuple(near),
    )


def _training_examples(model: LoadedModel, task: Task[Any], asked: MistakesQuestion) -> tuple[list[Any], str | None]:
    if not asked.num_neighbours:
        return [], None
    try:
        return DataSources(model, {}, split="train").examples(task, limit=asked.max_train), None
    except FileError as error:
        return [], error.message


def _neighbours(
    model: LoadedModel,
    task: Task[Any],
    examples: Sequence[Any],
    train: Sequence[Any],
    *,
    asked: MistakesQuestion,
    reporter: Reporter,
) -> list[list[Neighbour]]:
    """Return the training examples nearest to each example; one that is itself among them is left out."""
    if not examples or not train:
        return [[] for _ in examples]
    texts, among = ([task.source(example) for example in side] for side in (examples, train))
    hides_itself = asked.data is None and asked.split == "train"
    num = asked.num_neighbours + hides_itself
    found = []
    for example, near in zip(examples, nearest_texts(model, texts, among, num=num, reporter=reporter), strict=True):
        others = [(number, value) for number, value in near if not (hides_itself and train[number] == example)]
        found.append([_neighbour(task, train[number], value) for number, value in others[: asked.num_neighbours]])
    return found


def _neighbour(task: Task[Any], example: Any, similarity: float) -> Neighbour:
    return Neighbour(similarity=similarity, source=task.source(example), reference=task.reference(example))
