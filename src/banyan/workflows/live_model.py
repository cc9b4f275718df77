"""A model in training, scored as the model it would be if training stopped now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from banyan.infer.engine import Engine
from banyan.infer.sampling import SamplingConfig
from banyan.model.transformer import Transformer
from banyan.runtime.description import describe_model
from banyan.runtime.loaded_model import LoadedModel
from banyan.tasks.metrics.likelihood import BITS_PER_CODE
from banyan.workflows.datasets import spread
from banyan.workflows.judge import Judge, train_judge
from banyan.workflows.material import Material
from banyan.workflows.reporter import SilentReporter
from banyan.workflows.samples import Sample, take_samples
from banyan.workflows.scoring import evaluate_model, overall_score, unit_scores
from banyan.workflows.unwanted_work import given_up_when

HearSamples: TypeAlias = Callable[[int, Sequence[Sample]], None]  # (step, one of each task)

TASK_SCORES = "task_scores"  # by task, each between 0 and 1 and better upwards
_FEW_SAMPLES = 2  # nobody reads the intervals of an evaluation during training


def live_model(model: Transformer, material: Material) -> LoadedModel:
    """Return weights in memory as a model that answers; close it before training goes on."""
    return LoadedModel(
        directory=Path(),
        sha256="",
        description=describe_model(
            material.known_tasks,
            chat=material.vocabulary.chat.name,
            image_tokenizer=material.image_tokenizer,
            sampling=material.sampling,
        ),
        tasks={task.name: task for task in material.known_tasks},
        vocabulary=material.vocabulary,
        image_tokenizer=material.image_tokenizer,
        model=model,
        engine=Engine(model, material.vocabulary),
    )


def judges_of(material: Material) -> dict[str, Judge | None]:
    """Return the judge of every task that draws, trained on its real pictures."""
    return {name: train_judge(examples) for name, examples in material.pictures.items()}


def validation_judges(material: Material) -> dict[str, Judge | None]:
    """Return the judge of every task that draws and whose drawings choose the best checkpoint; None for the others."""
    by_codes = {task.name for task in material.tasks if task.chosen_metric == BITS_PER_CODE}
    pictures = material.pictures.items()
    return {name: None if name in by_codes else train_judge(examples) for name, examples in pictures}


def _without_search(sampling: Mapping[str, SamplingConfig]) -> dict[str, SamplingConfig]:
    return {name: replace(how, num_beams=1) for name, how in sampling.items()}


class LiveEvaluator:
    """Scores a model in training on a few validation examples of each task; the trainer keeps the best.

    `limits` is how many examples a task has, where it is not `max_examples`. Nothing is searched with beams: a choice
    among checkpoints does not need it. `hear_samples` gets the step and one sample of each task, every time. The model
    stops answering as soon as `is_unwanted`.
    """

    def __init__(
        self,
        material: Material,
        *,
        max_examples: int,
        limits: Mapping[str, int] | None = None,
        hear_samples: HearSamples | None = None,
        is_unwanted: Callable[[], bool] = lambda: False,
    ) -> None:
        limits = limits or {}
        self._material = replace(material, sampling=_without_search(material.sampling))
        self._hear_samples = hear_samples
        self._is_unwanted = is_unwanted
        self._examples: dict[str, Sequence[Any]] = {
            name: spread(examples, limits.get(name, max_examples))
            for name, examples in material.validation.items()
            if examples
        }
        self._judges = validation_judges(material)

    @property
    def has_examples(self) -> bool:
        """Is there anything to score on?"""
        return bool(self._examples)

    def __call__(self, model: Transformer, step: int) -> Mapping[str, Any]:
        """Return `score` (the mean over tasks), every score as `task/metric`, and what makes up the mean, by task.

        Raises: EvaluationStopped if the scores became unwanted.
        """
        with live_model(model, self._material) as answering, given_up_when(self._is_unwanted, stop=answering.close):
            results = evaluate_model(
                answering, self._examples, judges=self._judges, reporter=SilentReporter(), num_samples=_FEW_SAMPLES
            )
            if self._hear_samples is not None:
                self._hear_samples(step, take_samples(answering, results))
        evaluations = {name: result.evaluation for name, result in results.items()}
        scores = {f"{name}/{metric}": value for name, e in evaluations.items() for metric, value in e.scores.items()}
        return {"score": overall_score(evaluations), **scores, TASK_SCORES: unit_scores(evaluations)}
